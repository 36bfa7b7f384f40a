//! The MAC of a file: SHA-512 over the canonical bytes of every leaf in file order, without separators and
//! without keys. Plaintext comes in, upper-case hexadecimal goes out. It guards values, not structure: keys,
//! nulls, empty values and comments are not covered.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256, Sha512};

use super::secret::{Kind, Plaintext};

/// Computes the MAC over (is it encrypted, its value) of every leaf; nulls are `None`.
pub(super) fn compute<'p>(
    mac_only_encrypted: bool,
    leaves: impl Iterator<Item = (bool, Option<&'p Plaintext>)>,
) -> String {
    let mut hash = Sha512::new();
    if mac_only_encrypted {
        // So that the two ways never give the same MAC.
        hash.update(Sha256::digest(b"sops"));
    }
    for (sealed, value) in leaves {
        if let Some(value) = value.filter(|it| it.kind != Kind::Comment && (sealed || !mac_only_encrypted)) {
            hash.update(&value.bytes);
        }
    }
    hash.finalize().iter().fold(String::with_capacity(128), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_count_unless_only_encrypted_ones_do() {
        let (a, b) = (Plaintext::text("a"), Plaintext::text("b"));
        let mac =
            |only, plain: &Plaintext| compute(only, [(true, Some(&a)), (false, Some(plain))].into_iter());
        assert_ne!(mac(false, &a), mac(false, &b));
        assert_eq!(mac(true, &a), mac(true, &b));
        let empty = compute(false, std::iter::empty());
        // SHA-512 of nothing (FIPS 180-4).
        assert!(empty.starts_with("CF83E1357EEFB8BDF1542850D66D8007") && empty.len() == 128);
        assert_ne!(empty, compute(true, std::iter::empty()));
    }
}
