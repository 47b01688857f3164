//! The kernel for any processor: one table of 256 products per coefficient.

use super::Inputs;
use crate::codec::field::multiply;
use crate::codec::matrix::Row;

/// `PRODUCTS[c][x]` = c · x.
static PRODUCTS: [[u8; 256]; 256] = products();

// Evaluated by the compiler, whose stack is large enough.
#[allow(clippy::large_stack_arrays)]
const fn products() -> [[u8; 256]; 256] {
    let mut products = [[0; 256]; 256];
    let mut a = 0;
    while a < 256 {
        let mut b = 0;
        while b < 256 {
            products[a][b] = multiply(a as u8, b as u8);
            b += 1;
        }
        a += 1;
    }
    products
}

/// Writes `rows` · `inputs` to `outputs`, all of one length.
pub(super) fn pass<const N: usize>(rows: &[Row; N], inputs: Inputs<'_>, outputs: [&mut [u8]; N]) {
    for (row, output) in rows.iter().zip(outputs) {
        let [a, b, c, d] = row.map(|coefficient| &PRODUCTS[usize::from(coefficient)]);
        for (index, byte) in output.iter_mut().enumerate() {
            *byte = a[usize::from(inputs[0][index])]
                ^ b[usize::from(inputs[1][index])]
                ^ c[usize::from(inputs[2][index])]
                ^ d[usize::from(inputs[3][index])];
        }
    }
}
