//! Counting tests.

/// How many tests ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
}

impl Tally {
    pub fn passed(count: u32) -> Self {
        Self {
            passed: count,
            ..Self::default()
        }
    }

    pub fn failed(count: u32) -> Self {
        Self {
            failed: count,
            ..Self::default()
        }
    }

    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Reads the closing lines of cargo's test harness, and plain ones: `N passed, N failed`.
    pub fn read(output: &str) -> Self {
        let mut sum = Self::default();
        for line in output.lines() {
            let line = line.trim();
            if line.starts_with("test result:") || is_plain(line) {
                let count = |word: &str| number_before(line, word);
                sum.passed += count("passed");
                sum.failed += count("failed");
                sum.skipped += count("ignored") + count("skipped");
            }
        }
        sum
    }
}

fn is_plain(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let number = words.next().is_some_and(|word| word.parse::<u32>().is_ok());
    number && words.next() == Some("passed,") && line.contains("failed")
}

fn number_before(line: &str, word: &str) -> u32 {
    let words: Vec<&str> = line
        .split([' ', ',', ';'])
        .filter(|word| !word.is_empty())
        .collect();
    let at = words.iter().position(|each| *each == word).unwrap_or(0);
    at.checked_sub(1)
        .and_then(|before| words[before].parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted() {
        let output = "running 3 tests\n\
            test result: ok. 25 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out\n\
            noise 7 passed, in a sentence that has failed to be a closing line\n\
            12 passed, 1 failed, 3 skipped\n\
            4 passed, 0 failed\n\
            test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured\n";
        assert_eq!(
            Tally::read(output),
            Tally {
                passed: 42,
                failed: 3,
                skipped: 5
            }
        );
    }
}
