//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11D) and the generator 2.
//!
//! Addition is XOR. Multiplication goes through logarithms to the generator, tabulated at compile
//! time. This is the arithmetic of single coefficients; [`super::kernel`] multiplies megabytes.

const POLYNOMIAL: u16 = 0x11D;

/// `EXP[i]` = 2^i, repeated once so that a sum of two logarithms needs no reduction.
const EXP: [u8; 510] = tables().0;
/// `LOG[x]` with 2^`LOG[x]` = x; `LOG[0]` is never read.
const LOG: [u8; 256] = tables().1;

const fn tables() -> ([u8; 510], [u8; 256]) {
    let mut exp = [0; 510];
    let mut log = [0; 256];
    let mut value: u16 = 1;
    let mut power = 0;
    while power < 255 {
        exp[power] = value as u8;
        exp[power + 255] = value as u8;
        log[value as usize] = power as u8;
        value <<= 1;
        if value > 0xFF {
            value ^= POLYNOMIAL;
        }
        power += 1;
    }
    (exp, log)
}

/// The product of `a` and `b`.
pub const fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    EXP[LOG[a as usize] as usize + LOG[b as usize] as usize]
}

/// The inverse of `a`; zero has none.
pub const fn invert(a: u8) -> Option<u8> {
    if a == 0 {
        return None;
    }
    Some(EXP[255 - LOG[a as usize] as usize])
}

/// `base` to the power `exponent`, with 0^0 = 1.
pub const fn power(base: u8, exponent: usize) -> u8 {
    let mut result = 1;
    let mut step = 0;
    while step < exponent {
        result = multiply(result, base);
        step += 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplication as the definition has it: shift, add, reduce.
    fn multiply_by_definition(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 != 0 {
                product ^= a;
            }
            let carry = a & 0x80 != 0;
            a <<= 1;
            if carry {
                a ^= POLYNOMIAL as u8;
            }
            b >>= 1;
        }
        product
    }

    #[test]
    fn products_match_the_definition() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(multiply(a, b), multiply_by_definition(a, b), "{a} * {b}");
            }
        }
    }

    #[test]
    fn every_element_but_zero_has_an_inverse() {
        assert_eq!(invert(0), None);
        for a in 1..=255 {
            assert_eq!(multiply(a, invert(a).unwrap()), 1, "{a}");
        }
    }

    #[test]
    fn powers_begin_with_one() {
        assert_eq!(power(0, 0), 1);
        assert_eq!(power(0, 1), 0);
        assert_eq!(power(2, 8), 0x1D);
    }
}
