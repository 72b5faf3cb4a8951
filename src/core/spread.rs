//! From a hash to a place in an index.

/// Spreads a hash over the index, which takes its position from the low bits and seven tag bits from the top.
///
/// Python hashes an integer to itself, and a float with a short fraction to a number whose low bits, or whose high ones,
/// are all zero. So both halves of a full product count (the folded multiplication of wyhash and foldhash), and what that
/// leaves at the top is folded down once more: without, some strides still fill half of the positions only.
#[must_use]
#[inline]
pub fn spread(hash: u64) -> u64 {
    let product = u128::from(hash) * 0x9E37_79B9_7F4A_7C15;
    #[allow(clippy::cast_possible_truncation, reason = "the two halves")]
    let folded = product as u64 ^ (product >> 64) as u64;
    folded ^ (folded >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::spread;

    /// The number times `2**shift`, modulo the prime that Python's numeric hashes are taken by.
    fn moved(number: u64, shift: u32) -> u64 {
        const PRIME: u128 = (1 << 61) - 1;
        u64::try_from((u128::from(number) << shift) % PRIME).unwrap_or(u64::MAX)
    }

    #[test]
    fn hashes_that_differ_in_a_few_bits_anywhere_are_spread() {
        const COUNT: u64 = 1_024;
        for shift in 0..61 {
            let hashes = (0..COUNT).map(|number| moved(number, shift));
            let positions: HashSet<u64> = hashes.map(|hash| spread(hash) % 4_096).collect();
            // At random, 906 of the positions would be taken; the least of these strides takes 870.
            assert!(positions.len() > 850, "{} by {shift}", positions.len());
        }
    }
}
