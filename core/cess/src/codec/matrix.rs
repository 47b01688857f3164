//! The coding matrix and the matrices that undo it.
//!
//! The network's matrix is a 12 × 4 Vandermonde matrix, entry (r, c) = r^c, multiplied by the
//! inverse of its own top 4 × 4 square. That leaves the identity on top (data fragments are the
//! segment itself) and keeps the property that any four rows can be inverted. Fragment *i* is row
//! *i* times the column of the four data fragments; so from any four fragments, the inverse of
//! their four rows gives the data back, and every other fragment with it.

use super::field::{invert, multiply, power};
use super::{DATA_FRAGMENTS, FRAGMENTS};

/// One row: the coefficients of the four inputs.
pub type Row = [u8; DATA_FRAGMENTS];
/// Four rows.
pub type Square = [Row; DATA_FRAGMENTS];

/// The coding matrix: fragment `i` = `CODING[i]` · (data fragments).
pub const CODING: [Row; FRAGMENTS] = coding();

const fn coding() -> [Row; FRAGMENTS] {
    let mut vandermonde = [[0; DATA_FRAGMENTS]; FRAGMENTS];
    let mut row = 0;
    while row < FRAGMENTS {
        let mut column = 0;
        while column < DATA_FRAGMENTS {
            vandermonde[row][column] = power(row as u8, column);
            column += 1;
        }
        row += 1;
    }
    let top = [vandermonde[0], vandermonde[1], vandermonde[2], vandermonde[3]];
    let inverse = inverted(top).expect("the top of a Vandermonde matrix with distinct rows is invertible");
    let mut coding = [[0; DATA_FRAGMENTS]; FRAGMENTS];
    let mut row = 0;
    while row < FRAGMENTS {
        coding[row] = times(vandermonde[row], &inverse);
        row += 1;
    }
    coding
}

/// `row` · `square`.
pub const fn times(row: Row, square: &Square) -> Row {
    let mut product = [0; DATA_FRAGMENTS];
    let mut column = 0;
    while column < DATA_FRAGMENTS {
        let mut inner = 0;
        while inner < DATA_FRAGMENTS {
            product[column] ^= multiply(row[inner], square[inner][column]);
            inner += 1;
        }
        column += 1;
    }
    product
}

/// The inverse of `square` by Gauss–Jordan elimination; `None` if it has none.
pub const fn inverted(mut square: Square) -> Option<Square> {
    let mut inverse = [[0; DATA_FRAGMENTS]; DATA_FRAGMENTS];
    let mut diagonal = 0;
    while diagonal < DATA_FRAGMENTS {
        inverse[diagonal][diagonal] = 1;
        diagonal += 1;
    }
    let mut pivot = 0;
    while pivot < DATA_FRAGMENTS {
        let mut candidate = pivot;
        while candidate < DATA_FRAGMENTS && square[candidate][pivot] == 0 {
            candidate += 1;
        }
        if candidate == DATA_FRAGMENTS {
            return None;
        }
        let swapped = (square[candidate], inverse[candidate]);
        (square[candidate], inverse[candidate]) = (square[pivot], inverse[pivot]);
        (square[pivot], inverse[pivot]) = swapped;

        let Some(scale) = invert(square[pivot][pivot]) else {
            return None;
        };
        let mut column = 0;
        while column < DATA_FRAGMENTS {
            square[pivot][column] = multiply(square[pivot][column], scale);
            inverse[pivot][column] = multiply(inverse[pivot][column], scale);
            column += 1;
        }
        let mut row = 0;
        while row < DATA_FRAGMENTS {
            let factor = square[row][pivot];
            if row != pivot && factor != 0 {
                let mut column = 0;
                while column < DATA_FRAGMENTS {
                    square[row][column] ^= multiply(factor, square[pivot][column]);
                    inverse[row][column] ^= multiply(factor, inverse[pivot][column]);
                    column += 1;
                }
            }
            row += 1;
        }
        pivot += 1;
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coding_matrix_is_the_networks() {
        assert_eq!(
            CODING,
            [
                [1, 0, 0, 0],
                [0, 1, 0, 0],
                [0, 0, 1, 0],
                [0, 0, 0, 1],
                [27, 28, 18, 20],
                [28, 27, 20, 18],
                [18, 20, 27, 28],
                [20, 18, 28, 27],
                [245, 232, 196, 216],
                [232, 245, 216, 196],
                [196, 216, 245, 232],
                [216, 196, 232, 245],
            ]
        );
    }

    #[test]
    fn any_four_rows_can_be_inverted() {
        for mask in 0_u32..1 << FRAGMENTS {
            if mask.count_ones() as usize != DATA_FRAGMENTS {
                continue;
            }
            let mut square = [[0; DATA_FRAGMENTS]; DATA_FRAGMENTS];
            for (slot, row) in (0..FRAGMENTS).filter(|row| mask >> row & 1 == 1).enumerate() {
                square[slot] = CODING[row];
            }
            let inverse = inverted(square).unwrap();
            for (index, row) in square.into_iter().enumerate() {
                let mut unit = [0; DATA_FRAGMENTS];
                unit[index] = 1;
                assert_eq!(times(row, &inverse), unit, "{mask:012b}");
            }
        }
    }

    #[test]
    fn a_singular_square_has_no_inverse() {
        assert_eq!(
            inverted([[1, 2, 3, 4], [1, 2, 3, 4], [0, 0, 1, 0], [0, 0, 0, 1]]),
            None
        );
        assert_eq!(inverted([[0; 4]; 4]), None);
    }
}
