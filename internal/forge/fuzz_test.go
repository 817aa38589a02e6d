package forge

import "testing"

// FuzzParseSet reads any document for a set of keys: none of them is weak.
func FuzzParseSet(f *testing.F) {
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a","use":"sig","alg":"RS256","n":"AQAB","e":"AQAB"},null,7]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","kid":"a","k":"AQAB"}]}`))
	f.Add([]byte(`{"keys":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseSet(body)
		if err != nil && keys != nil {
			t.Errorf("%d keys with error %v", len(keys), err)
		}
		for kid, key := range keys {
			if kid == "" || key.N.BitLen() < minKeyBits || key.E < 3 || key.E%2 == 0 {
				t.Errorf("key %q of %d bits with exponent %d", kid, key.N.BitLen(), key.E)
			}
		}
	})
}
