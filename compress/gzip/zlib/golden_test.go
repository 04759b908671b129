package zlib

// golden has the hashes of TestStreamsStayTheSame, levels 1 to 9.
var golden = map[string][9]string{
	"zlib": {
		"38845aa0f1c4b28b", "88fb037575fd991b", "aaaf63ca32eee0a3", "d0ddaae3460dc7e9", "1686acc4ec49de73",
		"b0102dd33fb1c5f8", "3af0625828da3a6d", "b0365fdf3dd1d6ce", "e74d8c9a75ef2f08",
	},
	"zlib, memory level 9": {
		"5619520396205e07", "0488e90925b976b3", "3099c7701d8445a7", "857a4c849342396b", "e1bc92efec540748",
		"6d9b386c9f7c1a4e", "58a065a35104cee1", "b94936b2bc3717b6", "18c08032cebd6b6f",
	},
	"GNU gzip": {
		"d383409fb1545987", "c66a5b36971025c8", "eb1d8a0ab3808d26", "47d8b4d944e900b2", "40b5018086a79e8c",
		"4deb05d73758c11a", "26816c7788e4278d", "42442095997f1caf", "153f9fd2a59aaa31",
	},
	"small busybox": {
		"7935f4ffc8019087", "7935f4ffc8019087", "7935f4ffc8019087", "7935f4ffc8019087", "6c3b1659e4b14ec6",
		"faa4594864994f71", "c23ebb35ed60a0b8", "365ec107269157f2", "36782db4b0ae132e",
	},
	"medium busybox": {
		"c38543db6115abec", "c38543db6115abec", "c38543db6115abec", "c38543db6115abec", "7ce625c4d6769006",
		"eeba8432b4e3e56f", "6f55cf189e821138", "0cf57b28fc8a3b72", "0aeac2db37bc9308",
	},
	"large busybox": {
		"47d8b4d944e900b2", "47d8b4d944e900b2", "47d8b4d944e900b2", "47d8b4d944e900b2", "40b5018086a79e8c",
		"4deb05d73758c11a", "26816c7788e4278d", "42442095997f1caf", "153f9fd2a59aaa31",
	},
	"pigz": {
		"bd48aef1dc78e283", "b400872a9e1be889", "07aa06503e0f152e", "ac79b6331c3b3a5c", "43d5d01f277cdff5",
		"1afb433013d98889", "8c4a89e63be13d8f", "a76c527048b9c6a5", "545c08392e7e7576",
	},
	"pigz -i": {
		"38df54a905a34d27", "2e976cd6e052676d", "46079231e0a745dc", "880d727ebc91c6bf", "f836bfa2dc7a3579",
		"f8e93a8362b3c1b4", "d9b367cdc739c8a1", "986e911229ac5206", "54bc91fa36f7c950",
	},
}
