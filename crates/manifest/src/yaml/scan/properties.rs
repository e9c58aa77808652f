//! Directives, anchors, aliases and tags.

use super::{Kind, Mark, Outcome, Scanner, is_blank};

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

impl<'a> Scanner<'a> {
    fn word(&mut self) -> &'a str {
        let from = self.pos;
        while is_word(self.byte(0)) {
            self.skip();
        }
        self.src.get(from..self.pos).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        while is_blank(self.byte(0)) {
            self.skip();
        }
    }

    pub(super) fn fetch_directive(&mut self) -> Outcome<()> {
        let start = self.mark;
        self.skip();
        let name = self.word();
        if name.is_empty() {
            return Err(self.problem(start, "could not find expected directive name"));
        }
        if !self.is_blankz(0) {
            return Err(self.problem(start, "found unexpected non-alphabetical character"));
        }
        let kind = match name {
            "YAML" => {
                self.skip_blanks();
                let major = self.version_number(start)?;
                if self.byte(0) != b'.' {
                    return Err(self.problem(start, "did not find expected digit or '.' character"));
                }
                self.skip();
                let minor = self.version_number(start)?;
                Kind::Version(major, minor)
            }
            "TAG" => {
                self.skip_blanks();
                let handle = self.tag_handle(true, start)?;
                if !is_blank(self.byte(0)) {
                    return Err(self.problem(start, "did not find expected whitespace"));
                }
                self.skip_blanks();
                let prefix = self.tag_uri("", start)?;
                if !self.is_blankz(0) {
                    return Err(self.problem(start, "did not find expected whitespace or line break"));
                }
                Kind::TagDirective { handle, prefix }
            }
            _ => return Err(self.problem(start, "found unknown directive name")),
        };
        self.skip_blanks();
        if self.byte(0) == b'#' {
            while !self.is_breakz() {
                self.skip();
            }
        }
        if !self.is_breakz() {
            return Err(self.problem(start, "did not find expected comment or line break"));
        }
        self.skip_break();
        self.push(kind, start);
        Ok(())
    }

    fn version_number(&mut self, start: Mark) -> Outcome<u8> {
        let mut value = 0u8;
        let mut length = 0;
        while self.byte(0).is_ascii_digit() {
            length += 1;
            if length > 2 {
                return Err(self.problem(start, "found extremely long version number"));
            }
            value = value * 10 + (self.byte(0) - b'0');
            self.skip();
        }
        if length == 0 {
            return Err(self.problem(start, "did not find expected version number"));
        }
        Ok(value)
    }

    pub(super) fn fetch_anchor(&mut self, alias: bool) -> Outcome<()> {
        let start = self.mark;
        self.skip();
        let name = self.word();
        let ends = self.is_blankz(0)
            || matches!(self.byte(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ends {
            return Err(self.problem(start, "did not find expected alphabetic or numeric character"));
        }
        self.push(if alias { Kind::Alias(name) } else { Kind::Anchor(name) }, start);
        Ok(())
    }

    pub(super) fn fetch_tag(&mut self) -> Outcome<()> {
        let start = self.mark;
        let (mut handle, mut suffix) = (String::new(), String::new());
        if self.byte(1) == b'<' {
            self.skip();
            self.skip();
            suffix = self.tag_uri("", start)?;
            if self.byte(0) != b'>' {
                return Err(self.problem(start, "did not find the expected '>'"));
            }
            self.skip();
        } else {
            let found = self.tag_handle(false, start)?;
            if found.len() > 1 && found.ends_with('!') {
                handle.push_str(found);
                suffix = self.tag_uri("", start)?;
            } else {
                suffix.push_str(&self.tag_uri(found, start)?);
                handle.push('!');
                if suffix.is_empty() {
                    std::mem::swap(&mut handle, &mut suffix);
                }
            }
        }
        if !self.is_blankz(0) {
            return Err(self.problem(start, "did not find expected whitespace or line break"));
        }
        self.push(Kind::Tag { handle, suffix }, start);
        Ok(())
    }

    fn tag_handle(&mut self, directive: bool, start: Mark) -> Outcome<&'a str> {
        let from = self.pos;
        if self.byte(0) != b'!' {
            return Err(self.problem(start, "did not find expected '!'"));
        }
        self.skip();
        self.word();
        if self.byte(0) == b'!' {
            self.skip();
        } else if directive && self.pos - from > 1 {
            return Err(self.problem(start, "did not find expected '!'"));
        }
        Ok(self.src.get(from..self.pos).unwrap_or_default())
    }

    /// A tag's URI. `head` is a handle that turned out to be the start of it.
    fn tag_uri(&mut self, head: &str, start: Mark) -> Outcome<String> {
        let mut uri: Vec<u8> = head.as_bytes().get(1..).unwrap_or_default().to_vec();
        let mut any = !head.is_empty();
        loop {
            let byte = self.byte(0);
            if byte == b'%' {
                let hex = |b: u8| (b as char).to_digit(16);
                let (Some(high), Some(low)) = (hex(self.byte(1)), hex(self.byte(2))) else {
                    return Err(self.problem(start, "did not find URI escaped octet"));
                };
                uri.push((high * 16 + low) as u8);
                for _ in 0..3 {
                    self.skip();
                }
            } else if is_word(byte) || b";/?:@&=+$,.!~*'()[]".contains(&byte) {
                uri.push(byte);
                self.skip();
            } else {
                break;
            }
            any = true;
        }
        if !any {
            return Err(self.problem(start, "did not find expected tag URI"));
        }
        String::from_utf8(uri).map_err(|_| self.problem(start, "found an incorrect leading UTF-8 octet"))
    }
}
