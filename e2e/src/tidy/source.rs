//! One source file, and its text with comments and literals blanked out.

use std::ops::Range;

/// A file as the rules read it.
#[derive(Debug)]
pub struct Source {
    /// Where it is, from the root of the workspace.
    pub path: String,
    /// Its lines as they are.
    pub lines: Vec<String>,
    /// Its lines with every comment and literal blanked; the same count as `lines`.
    pub code: Vec<String>,
    tests: Vec<Range<usize>>,
}

/// What the blanking is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    RawText(usize),
}

impl Source {
    /// Reads `text` as the file at `path`.
    pub fn new(path: &str, text: &str) -> Self {
        let code: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        let lines = text.lines().map(str::to_owned).collect();
        let tests = test_ranges(&code);
        Self { path: path.to_owned(), lines, code, tests }
    }

    /// Whether line `index` (from zero) is only compiled for tests.
    pub fn is_test(&self, index: usize) -> bool {
        let in_tests = self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/benches/")
            || self.path.contains("/examples/");
        in_tests || self.tests.iter().any(|range| range.contains(&index))
    }

    /// Every line of code with its index.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().map(String::as_str).enumerate()
    }
}

fn blank(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut blanked = String::with_capacity(text.len());
    let mut state = State::Code;
    let mut at = 0;
    while at < characters.len() {
        let (next, step) = advance(state, &characters[at..]);
        for &character in &characters[at..at + step] {
            let kept =
                character == '\n' || (state == State::Code && next == State::Code && step == 1);
            blanked.push(if kept { character } else { ' ' });
        }
        state = next;
        at += step;
    }
    blanked
}

/// The state after the next token of `rest`, and how many characters it has.
fn advance(state: State, rest: &[char]) -> (State, usize) {
    let second = rest.get(1).copied().unwrap_or(' ');
    match (state, rest[0]) {
        (State::Code, '/') if second == '/' => (State::LineComment, 2),
        (State::Code, '/') if second == '*' => (State::BlockComment(1), 2),
        (State::Code, '"') => (State::Text, 1),
        (State::Code, 'r') => raw_start(rest),
        (State::Code, '\'') => (State::Code, character_literal(rest)),
        (State::BlockComment(depth), '/') if second == '*' => (State::BlockComment(depth + 1), 2),
        (State::BlockComment(1), '*') if second == '/' => (State::Code, 2),
        (State::BlockComment(depth), '*') if second == '/' => (State::BlockComment(depth - 1), 2),
        (State::Text, '\\') => (State::Text, 2.min(rest.len())),
        (State::LineComment, '\n') | (State::Text, '"') => (State::Code, 1),
        (State::RawText(hashes), '"')
            if rest.len() > hashes && rest[1..=hashes].iter().all(|&c| c == '#') =>
        {
            (State::Code, hashes + 1)
        }
        _ => (state, 1),
    }
}

fn raw_start(rest: &[char]) -> (State, usize) {
    let hashes = rest[1..].iter().take_while(|&&character| character == '#').count();
    match rest.get(hashes + 1) {
        Some('"') => (State::RawText(hashes), hashes + 2),
        _ => (State::Code, 1),
    }
}

/// The size of a character literal; 1 for the tick of a lifetime.
fn character_literal(rest: &[char]) -> usize {
    match (rest.get(1), rest.get(2)) {
        (Some('\\'), _) => {
            rest.iter().skip(3).position(|&c| c == '\'').map_or(1, |position| position + 4)
        }
        (Some(_), Some('\'')) => 3,
        _ => 1,
    }
}

/// The lines of every item under `#[cfg(test)]`.
fn test_ranges(code: &[String]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for (index, line) in code.iter().enumerate() {
        if line.contains("#[cfg(test)]") || line.contains("#[cfg(all(test") {
            ranges.push(index..block_end(code, index) + 1);
        }
    }
    ranges
}

/// The line on which the first block or statement that begins at or after `start` ends.
pub(super) fn block_end(code: &[String], start: usize) -> usize {
    let (mut depth, mut opened) = (0_i32, false);
    for (index, line) in code.iter().enumerate().skip(start) {
        for character in line.chars() {
            match character {
                '{' => (depth, opened) = (depth + 1, true),
                '}' => depth -= 1,
                ';' if !opened => return index,
                _ => {}
            }
            if opened && depth == 0 {
                return index;
            }
        }
    }
    code.len().saturating_sub(1)
}
