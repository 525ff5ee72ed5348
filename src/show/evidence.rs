//! What a verdict rests on: its sentence, and below it where the bytes differ.

use super::screen;
use crate::lab::recording::escape;
use crate::probes::{Difference, Evidence};

/// The evidence in lines of at most `width` columns.
pub fn lines(evidence: &Evidence, width: usize) -> Vec<String> {
    let mut lines = screen::wrap(&evidence.sentence, width);
    lines.extend(evidence.difference.iter().flat_map(|difference| compared(difference, width)));
    lines
}

/// What was expected and what came, one above the other, with a caret below the first byte that differs. Of long texts,
/// the part around it.
fn compared(Difference { expected, got, at }: &Difference, width: usize) -> [String; 3] {
    const EXPECTED: &str = "expected ";
    // Two quotes, and two ellipses.
    let room = width.saturating_sub(EXPECTED.len() + 4);
    let columns = |bytes: &[u8]| escape(bytes).chars().count();
    // Within a character, the caret stands below the whole of it.
    let continues = |&index: &usize| expected.get(index).or(got.get(index)).is_some_and(|byte| byte & 0xc0 == 0x80);
    let at_character = (at.saturating_sub(3)..=*at).rev().find(|index| !continues(index)).unwrap_or(*at);
    let before = |from: usize| columns(&expected[from..at_character]);
    let from = (0..at_character).rev().take_while(|&from| before(from) <= room / 2).last().unwrap_or(at_character);
    let part = |bytes: &[u8]| {
        let to = (from..=bytes.len()).take_while(|&to| columns(&bytes[from..to]) <= room).last().unwrap_or(from);
        let (head, tail) = (if from > 0 { "…" } else { "" }, if to < bytes.len() { "…" } else { "" });
        format!("\"{head}{}{tail}\"", escape(&bytes[from..to]))
    };
    let caret = EXPECTED.len() + 1 + usize::from(from > 0) + before(from);
    [format!("{EXPECTED}{}", part(expected)), format!("     got {}", part(got)), format!("{:caret$}^ byte {at}", "")]
}
