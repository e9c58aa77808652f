//! What a scalar's characters allow.

/// The styles a text may be written in.
pub(super) struct Analysis {
    /// Contains line breaks.
    pub(super) multiline: bool,
    pub(super) flow_plain_allowed: bool,
    pub(super) block_plain_allowed: bool,
    pub(super) single_quoted_allowed: bool,
    pub(super) block_allowed: bool,
    /// Printable ASCII without spaces at all: may be copied as it is.
    pub(super) simple: bool,
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What may stand in output as it is. Characters beyond the basic plane may not.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

impl Analysis {
    /// Looks at `text`; `tabs_are_special` is v2's rule, which keeps tabs out of blocks.
    pub(super) fn of(text: &str, tabs_are_special: bool) -> Self {
        if text.is_empty() {
            return Self {
                multiline: false,
                flow_plain_allowed: false,
                block_plain_allowed: true,
                single_quoted_allowed: true,
                block_allowed: false,
                simple: true,
            };
        }
        if is_word(text) {
            return Self {
                multiline: false,
                flow_plain_allowed: true,
                block_plain_allowed: true,
                single_quoted_allowed: true,
                block_allowed: true,
                simple: true,
            };
        }
        scan(text, tabs_are_special)
    }
}

/// Letters, digits and signs that never mean anything in YAML, not starting with a sign that may.
fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/' | b'.'))
}

fn scan(text: &str, tabs_are_special: bool) -> Analysis {
    let mut block_indicators = text.starts_with("---") || text.starts_with("...");
    let mut flow_indicators = block_indicators;
    let (mut line_breaks, mut special, mut tabs) = (false, false, false);
    let (mut edge_space, mut trailing_space, mut edge_break) = (false, false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    let mut preceded = true;
    let mut spaces = false;
    let length = text.len();
    for (at, c) in text.char_indices() {
        let next = at + c.len_utf8();
        let followed = || matches!(text.as_bytes().get(next), None | Some(b' ' | b'\t'));
        if at == 0 {
            match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`' => {
                    flow_indicators = true;
                    block_indicators = true;
                }
                '?' | ':' => {
                    flow_indicators = true;
                    block_indicators |= followed();
                }
                '-' if followed() => {
                    flow_indicators = true;
                    block_indicators = true;
                }
                _ => {}
            }
        } else {
            match c {
                ',' | '?' | '[' | ']' | '{' | '}' => flow_indicators = true,
                ':' => {
                    flow_indicators = true;
                    block_indicators |= followed();
                }
                '#' if preceded => {
                    flow_indicators = true;
                    block_indicators = true;
                }
                _ => {}
            }
        }
        if c == '\t' && !tabs_are_special {
            tabs = true;
        } else if !is_printable(c) {
            special = true;
        }
        if c == ' ' {
            edge_space |= at == 0;
            trailing_space |= next == length;
            break_space |= previous_break;
            previous_space = true;
            previous_break = false;
            spaces = true;
        } else if is_break(c) {
            line_breaks = true;
            edge_break |= at == 0 || next == length;
            space_break |= previous_space;
            previous_space = false;
            previous_break = true;
        } else {
            previous_space = false;
            previous_break = false;
        }
        preceded = matches!(c, ' ' | '\t' | '\0') || is_break(c);
    }
    let plain = !(edge_space
        || trailing_space
        || edge_break
        || break_space
        || space_break
        || special
        || tabs
        || line_breaks);
    Analysis {
        multiline: line_breaks,
        flow_plain_allowed: plain && !flow_indicators,
        block_plain_allowed: plain && !block_indicators,
        single_quoted_allowed: !(break_space || space_break || special || tabs),
        block_allowed: !(trailing_space || space_break || special),
        simple: !spaces && !line_breaks,
    }
}
