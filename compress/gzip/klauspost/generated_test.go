package klauspost

// generated returns n bytes of many kinds that are the same for ever: noise, zeros, few symbols, words, symbols of very
// unequal counts, and copies of what was before, near and as far away as a match can be.
func generated(seed uint64, n int) []byte {
	below := func(n int) int {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed>>33) % n
	}
	words := make([][]byte, 300)
	for i := range words {
		words[i] = make([]byte, 2+below(9))
		for j := range words[i] {
			words[i][j] = byte('a' + below(1+below(26)))
		}
	}
	b := make([]byte, 0, n+1024)
	for len(b) < n {
		end := len(b) + 1 + below(1<<(1+below(17)))
		for kind := below(7); len(b) < min(n, end); {
			switch kind {
			case 0:
				b = append(b, byte(below(256)))
			case 1:
				b = append(b, 0)
			case 2:
				b = append(b, byte(below(1+below(90))))
			case 3:
				b = append(append(b, words[below(1+below(300))]...), ' ')
			case 4:
				symbol := byte(0)
				for below(2) == 0 {
					symbol += 37
				}
				b = append(b, symbol)
			default:
				if len(b) == 0 {
					kind = 0
					continue
				}
				at := len(b) - 1 - below(min(len(b), 33500))
				b = append(b, b[at:min(len(b), at+1+below(1<<below(10)))]...)
			}
		}
	}
	return b[:n]
}
