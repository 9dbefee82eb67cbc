//! Functions that the models need beyond `libm`: the logarithm of the beta function and Gauss's hypergeometric series.

/// Terms of a series before it is given up: at an argument of .999 it needs about 30,000.
const TERMS_MAX: u32 = 100_000;
/// A term this small beside the sum ends the series.
const TERM_MIN: f64 = 1e-15;

/// The logarithm of the gamma function.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// The logarithm of the beta function.
#[must_use]
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Gauss's series `₂F₁(a, b; c; z)` for `0 ≤ z < 1`; not a number where it does not converge in a bounded number of terms.
/// Converges fast where `c > a + b`; see [`hypergeometric_scaled`] for the rest.
#[must_use]
pub fn hypergeometric(a: f64, b: f64, c: f64, z: f64) -> f64 {
    let (mut term, mut sum) = (1.0_f64, 1.0_f64);
    for index in 0..TERMS_MAX {
        let n = f64::from(index);
        term *= (a + n) * (b + n) / ((c + n) * (n + 1.0)) * z;
        sum += term;
        if term.abs() <= TERM_MIN * sum.abs() {
            return sum;
        }
    }
    f64::NAN
}

/// `(1 − z)^(a + b − c) · ₂F₁(a, b; c; z)`, which Euler's transformation turns into `₂F₁(c − a, c − b; c; z)`: near `z = 1`
/// the factor grows without bound as the other shrinks, their product does not.
#[must_use]
pub fn hypergeometric_scaled(a: f64, b: f64, c: f64, z: f64) -> f64 {
    hypergeometric(c - a, c - b, c, z)
}
