//! Shamir's secret sharing over GF(2^8) in the form sops uses: a share is one byte per byte of the secret and
//! the x coordinate as last byte (A. Shamir, "How to share a secret", 1979; field polynomial of FIPS 197).
//! Secrets and shares come in and go out; random coefficients are an argument.

use zeroize::Zeroizing;

use super::error::SopsError;

/// Most shares: the field has 255 points besides zero.
pub(super) const SHARES_MAX: usize = 255;

fn multiply(a: u8, b: u8) -> u8 {
    let mut product = 0_u8;
    for bit in (0..8).rev() {
        // No branch and no table depends on the operands.
        let carry = (product >> 7).wrapping_neg() & 0x1b;
        product = (product << 1) ^ carry ^ (((b >> bit) & 1).wrapping_neg() & a);
    }
    product
}

/// a^254, the inverse of a by Fermat's little theorem.
fn invert(a: u8) -> u8 {
    let mut power = a;
    let mut inverse = 1;
    for _ in 0..7 {
        power = multiply(power, power);
        inverse = multiply(inverse, power);
    }
    inverse
}

/// Splits a secret into `shares`, of which any `threshold` give it back. `coefficients` yields one random byte
/// per call.
///
/// # Errors
/// [`SopsError::Shares`] unless 2 <= threshold <= shares <= 255, [`SopsError::Random`] without random bytes.
pub(super) fn split(
    secret: &[u8],
    shares: usize,
    threshold: usize,
    coefficients: &mut dyn FnMut() -> Option<u8>,
) -> Result<Vec<Zeroizing<Vec<u8>>>, SopsError> {
    if threshold < 2 || threshold > shares || shares > SHARES_MAX {
        return Err(SopsError::Shares { reason: "the threshold must be at least 2 and at most the groups" });
    }
    let mut polynomials = Vec::with_capacity(secret.len());
    for byte in secret {
        let mut polynomial = Zeroizing::new(vec![*byte]);
        for _ in 1..threshold {
            polynomial.push(coefficients().ok_or(SopsError::Random)?);
        }
        polynomials.push(polynomial);
    }
    let share = |x: u8| {
        let at = |polynomial: &Zeroizing<Vec<u8>>| {
            polynomial.iter().rev().fold(0, |sum, coefficient| multiply(sum, x) ^ coefficient)
        };
        let mut share: Zeroizing<Vec<u8>> = Zeroizing::new(polynomials.iter().map(at).collect());
        share.push(x);
        share
    };
    Ok((1..=u8::try_from(shares).unwrap_or(u8::MAX)).map(share).collect())
}

/// Gives the secret back from enough shares; with too few the answer is another secret, not an error.
///
/// # Errors
/// [`SopsError::Shares`] for fewer than two shares, and for shares of different lengths or the same point.
pub(super) fn combine(shares: &[Zeroizing<Vec<u8>>]) -> Result<Zeroizing<Vec<u8>>, SopsError> {
    let wrong = |reason| SopsError::Shares { reason };
    let [first, rest @ ..] = shares else { return Err(wrong("there are none")) };
    if rest.is_empty() || first.len() < 2 || rest.iter().any(|share| share.len() != first.len()) {
        return Err(wrong("too few, or of different lengths"));
    }
    let length = first.len() - 1;
    let points: Vec<u8> = shares.iter().map(|share| share[length]).collect();
    let twice = |(at, point): (usize, &u8)| points[..at].contains(point);
    if points.contains(&0) || points.iter().enumerate().any(twice) {
        return Err(wrong("two are for the same point"));
    }
    let mut secret = Zeroizing::new(vec![0; length]);
    for (share, point) in shares.iter().zip(&points) {
        let others = points.iter().filter(|other| *other != point);
        let basis = others.fold(1, |basis, other| multiply(basis, multiply(*other, invert(other ^ point))));
        for (byte, y) in secret.iter_mut().zip(&share[..length]) {
            *byte ^= multiply(*y, basis);
        }
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_field_is_that_of_aes() {
        // FIPS 197, section 4.2: {57} x {83} = {c1}.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert!((1..=255).all(|a| multiply(a, invert(a)) == 1));
    }

    proptest! {
        #[test]
        fn any_threshold_of_the_shares_gives_the_secret_back(
            secret in prop::collection::vec(any::<u8>(), 1..40),
            shares in 2_usize..7,
            drop in any::<u8>(),
            seed in any::<u8>(),
        ) {
            let threshold = 2 + usize::from(seed) % (shares - 1);
            let mut state = seed;
            let mut random = || { state = state.wrapping_mul(167).wrapping_add(13); Some(state) };
            let all = split(&secret, shares, threshold, &mut random).unwrap();
            prop_assert_eq!(all.len(), shares);
            let start = usize::from(drop) % shares;
            let some: Vec<_> = (0..threshold).map(|at| all[(start + at) % shares].clone()).collect();
            prop_assert_eq!(&*combine(&some).unwrap(), &secret);
            prop_assert_eq!(&*combine(&all).unwrap(), &secret);
        }
    }

    #[test]
    fn shares_that_cannot_be_of_one_secret_are_refused() {
        let share = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        for shares in [
            vec![],
            vec![share(&[1, 1])],
            vec![share(&[1, 1]), share(&[2, 1])],
            vec![share(&[1, 1]), share(&[2, 2, 2])],
            vec![share(&[1]), share(&[2])],
            vec![share(&[1, 0]), share(&[2, 1])],
        ] {
            assert!(combine(&shares).is_err());
        }
        assert!(split(b"x", 1, 1, &mut || Some(1)).is_err());
        assert!(split(b"x", 2, 3, &mut || Some(1)).is_err());
        assert!(matches!(split(b"x", 2, 2, &mut || None), Err(SopsError::Random)));
    }
}
