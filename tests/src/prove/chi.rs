//! Pearson's chi-square test: how likely it is that counts are as far from what was expected as these, or farther, by chance.

/// Cells that are expected less often than this are taken together.
const LEAST: f64 = 5.0;

/// Of cells that have their count and how many were expected; `n` is how many there were in all. What the cells do not cover is
/// one more cell, as are all those that are expected too seldom.
pub(super) fn p_value(cells: impl IntoIterator<Item = (u64, f64)>, n: u64) -> f64 {
    let (mut chi, mut degrees) = (0.0, 0u32);
    let (mut rest, mut expected_rest) = (n as f64, n as f64);
    let mut add = |count: f64, expected: f64| chi += (count - expected) * (count - expected) / expected;
    for (count, expected) in cells.into_iter().filter(|(_, expected)| *expected >= LEAST) {
        add(count as f64, expected);
        degrees += 1;
        rest -= count as f64;
        expected_rest -= expected;
    }
    if expected_rest >= LEAST {
        add(rest, expected_rest);
        degrees += 1;
    } else if rest > 4.0 * LEAST {
        // What is expected less than five times came more than twenty times: less than one in ten millions.
        return 0.0;
    }
    match degrees {
        0 | 1 => 1.0,
        _ => survival(chi, f64::from(degrees - 1)),
    }
}

/// The probability that chi-square with so many degrees of freedom is above `chi`: the upper incomplete gamma function, by its
/// series or its continued fraction (Abramowitz and Stegun, 6.5.29 and 6.5.31).
fn survival(chi: f64, degrees: f64) -> f64 {
    let (a, x) = (degrees / 2.0, chi / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let scale = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..10_000 {
            term *= x / (a + f64::from(n));
            sum += term;
            if term < sum * 1e-16 {
                break;
            }
        }
        return 1.0 - scale * sum;
    }
    // By Lentz's method.
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1e300, 1.0 / b);
    let mut value = d;
    for n in 1..10_000 {
        let step = -f64::from(n) * (f64::from(n) - a);
        b += 2.0;
        d = 1.0 / (step * d + b);
        c = b + step / c;
        value *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    scale * value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_quantiles() {
        // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4.
        for (degrees, p, quantile) in [
            (1.0, 0.05, 3.841),
            (1.0, 0.001, 10.828),
            (9.0, 0.001, 27.877),
            (11.0, 0.001, 31.264),
            (99.0, 0.05, 123.225),
            (99.0, 0.001, 148.230),
            (10.0, 0.95, 3.940),
        ] {
            let found = survival(quantile, degrees);
            assert!((found / p - 1.0).abs() < 2e-3, "{degrees} {quantile}: {found}, expected {p}");
        }
    }

    #[test]
    fn what_is_seldom_is_one_cell() {
        assert!(p_value([(50, 50.0), (50, 50.0)], 100) > 0.99);
        assert!(p_value([(70, 50.0), (30, 50.0)], 100) < 1e-3);
        // Half of what was expected never came.
        assert!(p_value([(100, 50.0)], 100) < 1e-9);
        assert!(p_value([(100, 100.0)], 100) > 0.99);
        assert!(p_value([(900, 999.0), (100, 1.0)], 1_000) < 1e-9);
    }
}
