package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary play ferry.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ferry": main})
}

// raceExit keeps a ferry with the race detector from waiting for a second before it ends, as it does for goroutines that
// are left: there are a thousand runs of ferry in the tests.
var raceExit = [2]string{"GORACE", "atexit_sleep_ms=20"}

// TestScripts runs the stories of testdata/script. Besides ferry they have the commands of script_test.go.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup:               setUpStory,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"registry":  inStory((*story).registry),
			"mkbundle":  inStory((*story).makeBundle),
			"damage":    inStory((*story).damage),
			"cut":       inStory((*story).cut),
			"contentid": inStory((*story).contentID),
			"holds":     inStory((*story).holds),
			"requests":  inStory((*story).requests),
			"forget":    inStory((*story).forget),
			"refuse":    inStory((*story).refuse),
			"code":      inStory((*story).code),

			"push":    inStory((*story).push),
			"fault":   inStory((*story).fault),
			"behave":  inStory((*story).behave),
			"quota":   inStory((*story).quota),
			"once":    inStory((*story).once),
			"fetched": inStory((*story).fetched),
			"lose":    inStory((*story).lose),
			"stall":   inStory((*story).stall),
			"await":   inStory((*story).await),
			"hold":    inStory((*story).hold),
			"release": inStory((*story).release),
			"appear":  inStory((*story).appear),
			"garble":  inStory((*story).garble),
			"spoil":   inStory((*story).spoil),
			"digest":  inStory((*story).digest),
			"merged":  inStory((*story).merged),
			"lines":   inStory((*story).lines),
			"drop":    inStory((*story).drop),

			"mediatype": inStory((*story).mediaType),

			"volumes":      inStory((*story).volumes),
			"damagevolume": inStory((*story).damageVolume),

			"sign":   inStory((*story).sign),
			"signed": inStory((*story).signed),
			"retag":  inStory((*story).retag),
			"watch":  inStory((*story).watch),
			"unlist": inStory((*story).unlist),

			"put-old":     inStory((*story).putOld),
			"put-windows": inStory((*story).putWindows),

			"proxy":  inStory((*story).proxy),
			"served": inStory((*story).served),
			"any":    inStory((*story).any),

			"harbor":      inStory((*story).harbor),
			"project":     inStory((*story).project),
			"pushed":      inStory((*story).pushed),
			"visible":     inStory((*story).visible),
			"equal":       inStory((*story).equal),
			"refuse-tags": inStory((*story).refuseTags),
			"many":        inStory((*story).many),

			"save":   inStory((*story).save),
			"layout": inStory((*story).layout),
			"folder": inStory((*story).folder),

			"serve": inStory((*story).serve),
			"fetch": inStory((*story).fetch),
			"end":   inStory((*story).end),
			"pair":  inStory((*story).pair),

			"vanish": inStory((*story).vanish),
			"delete": inStory((*story).deleteImage),
			"untag":  inStory((*story).untag),

			"archived": inStory((*story).archived),
			"unnamed":  inStory((*story).unnamed),
		},
	})
}
