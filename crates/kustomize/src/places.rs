//! Where in a file a failure lies, for whoever opens it in an editor.

/// A file and a line of it, where known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// As a path from the root of the tree.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: Option<u32>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

fn find(content: &[u8], is_meant: impl Fn(&str) -> bool) -> Option<u32> {
    let at = content.split(|byte| *byte == b'\n').position(|line| {
        let line = String::from_utf8_lossy(line);
        is_meant(line.trim())
    })?;
    u32::try_from(at + 1).ok()
}

/// The line that names `word`: as an entry or value if there is such a line, else anywhere in it.
pub(crate) fn line_naming(content: &[u8], word: &str) -> Option<u32> {
    let word = word.lines().next().map(str::trim).filter(|word| !word.is_empty())?;
    let bare = |text: &str| {
        let text = text.split_once(" #").map_or(text, |(text, _)| text);
        text.trim().trim_matches(['"', '\'']) == word
    };
    let value = |line: &str| line.split_once(": ").is_some_and(|(_, value)| bare(value));
    let entry = |line: &str| bare(line.trim_start_matches("- ")) || value(line);
    find(content, entry).or_else(|| find(content, |line| line.contains(word)))
}

/// The line of `original` that says what a line of its rewritten form says.
pub(crate) fn line_rewritten(original: &[u8], rewritten: &str, line: u32) -> Option<u32> {
    let text = rewritten.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    let text = text.trim().trim_start_matches("- ");
    let value = text.split_once(": ").map_or(text, |(_, value)| value);
    line_naming(original, value.trim_matches(['"', '\'']))
}

/// The line that sets `field`.
pub(crate) fn line_setting(content: &[u8], field: &str) -> Option<u32> {
    find(content, |line| {
        let line = line.trim_start_matches("- ").trim_start_matches(['"', '\'']);
        line.strip_prefix(field).is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_as_an_entry_before_it_is_found_in_a_comment_or_another_word() {
        let text = b"# a.yaml\nresources:\n- aa.yaml\n- 'a.yaml' # the one\npatches:\n- path: p.yaml\n";
        assert_eq!(line_naming(text, "a.yaml"), Some(4));
        assert_eq!(line_naming(text, "p.yaml"), Some(6));
        assert_eq!(line_naming(text, "the one"), Some(4));
        assert_eq!(line_naming(text, "b.yaml"), None);
        assert_eq!(line_setting(text, "path"), Some(6));
        assert_eq!(line_setting(text, "pat"), None);
        assert_eq!(line_rewritten(text, "patches:\n- path: p.yaml\nresources:\n- a.yaml\n", 4), Some(4));
    }
}
