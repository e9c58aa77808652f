//! Scalars in their five styles.

use super::Emitter;
use super::analysis::{is_break, is_printable};

impl Emitter<'_> {
    fn write(&mut self, c: char) {
        self.put(c);
    }

    /// A line break: `\n` ends the line, others are copied and count as one.
    fn write_break(&mut self, c: char) {
        if c == '\n' {
            self.put_break();
        } else {
            self.out.push(c);
            self.column = 0;
            self.indention = true;
        }
    }

    pub(super) fn write_plain(&mut self, text: &str, simple: bool) {
        if !self.whitespace && (self.width.is_some() || !text.is_empty()) {
            self.put(' ');
        }
        if simple || self.width.is_none_or(|width| self.column + text.len() <= width) {
            self.out.push_str(text);
            self.column += text.chars().count();
        } else {
            let allow_breaks = !self.simple_key;
            let mut spaces = false;
            let mut characters = text.chars().peekable();
            while let Some(c) = characters.next() {
                if c == ' ' {
                    if allow_breaks && !spaces && self.too_wide() && characters.peek() != Some(&' ') {
                        self.write_indent();
                    } else {
                        self.write(c);
                    }
                    spaces = true;
                } else {
                    self.write(c);
                    self.indention = false;
                    spaces = false;
                }
            }
        }
        if self.width.is_some() || !text.is_empty() {
            self.whitespace = false;
        }
        self.indention = false;
    }

    pub(super) fn write_single_quoted(&mut self, text: &str) {
        self.indicator("'", true, false, false);
        let allow_breaks = !self.simple_key;
        let (mut spaces, mut breaks) = (false, false);
        let last = text.len().saturating_sub(1);
        let mut characters = text.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            if c == ' ' {
                let next_is_space = characters.peek().is_some_and(|(_, next)| *next == ' ');
                if allow_breaks && !spaces && self.too_wide() && at > 0 && at < last && !next_is_space {
                    self.write_indent();
                } else {
                    self.write(c);
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.put_break();
                }
                self.write_break(c);
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                if c == '\'' {
                    self.put('\'');
                }
                self.write(c);
                self.indention = false;
                spaces = false;
                breaks = false;
            }
        }
        self.indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    pub(super) fn write_double_quoted(&mut self, text: &str) {
        self.indicator("\"", true, false, false);
        let allow_breaks = !self.simple_key;
        // The Go writer looks for the mark at the start of the text, whatever the position.
        let marked = text.starts_with('\u{feff}');
        let mut spaces = false;
        let last = text.len().saturating_sub(1);
        let mut characters = text.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            if marked || !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.write_escaped(c);
                spaces = false;
            } else if c == ' ' {
                if allow_breaks && !spaces && self.too_wide() && at > 0 && at < last {
                    self.write_indent();
                    if characters.peek().is_some_and(|(_, next)| *next == ' ') {
                        self.put('\\');
                    }
                } else {
                    self.write(c);
                }
                spaces = true;
            } else {
                self.write(c);
                spaces = false;
            }
        }
        self.indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn write_escaped(&mut self, c: char) {
        self.put('\\');
        let short = match c {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            other => {
                let code = other as u32;
                let digits = match code {
                    0..=0xFF => format!("x{code:02X}"),
                    0x100..=0xFFFF => format!("u{code:04X}"),
                    _ => format!("U{code:08X}"),
                };
                digits.chars().for_each(|digit| self.put(digit));
                return;
            }
        };
        self.put(short);
    }

    /// Indentation and chomping after `|` or `>`.
    fn write_block_hints(&mut self, text: &str) {
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.indicator("2", false, false, false);
        }
        let mut backwards = text.chars().rev();
        match backwards.next() {
            Some(last) if is_break(last) => match backwards.next() {
                None => self.indicator("+", false, false, false),
                Some(before) if is_break(before) => self.indicator("+", false, false, false),
                Some(_) => {}
            },
            _ => self.indicator("-", false, false, false),
        }
    }

    pub(super) fn write_literal(&mut self, text: &str) {
        self.indicator("|", true, false, false);
        self.write_block_hints(text);
        self.finish_header();
        self.put_break();
        self.whitespace = true;
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(is_break).unwrap_or(rest.len());
            let line = rest.get(..end).unwrap_or_default();
            if !line.is_empty() {
                self.write_indent();
                self.out.push_str(line);
                self.column += line.chars().count();
                self.indention = false;
            }
            rest = rest.get(end..).unwrap_or_default();
            if let Some(c) = rest.chars().next() {
                self.write_break(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
            }
        }
    }

    pub(super) fn write_folded(&mut self, text: &str) {
        self.indicator(">", true, false, false);
        self.write_block_hints(text);
        self.finish_header();
        self.put_break();
        self.whitespace = true;
        let (mut breaks, mut leading_spaces) = (true, true);
        // The Go writer decides on an extra line break by the text's first character after its
        // leading breaks.
        let starts_blank =
            text.trim_start_matches(is_break).starts_with([' ', '\t']) || text.chars().all(is_break);
        for c in text.chars() {
            if is_break(c) {
                if !breaks && !leading_spaces && c == '\n' && !starts_blank {
                    self.put_break();
                }
                self.write_break(c);
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                    leading_spaces = matches!(c, ' ' | '\t');
                }
                self.write(c);
                self.indention = false;
                breaks = false;
            }
        }
    }
}
