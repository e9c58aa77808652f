//! The scanner: characters to tokens.
//!
//! Acceptance and error texts follow go-yaml (itself after libyaml), because what a resource file
//! may contain, and what a user is told about it, is decided there.

mod keys;
mod properties;
mod quoted;
mod scalars;

use std::borrow::Cow;
use std::collections::VecDeque;

use super::node::Style;

/// A place in the text; lines and columns from 0, in characters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub(super) index: usize,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// What the scanner or the parser choked on. Which of the two lines is shown differs by dialect.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) context_line: u32,
    pub(super) problem_line: u32,
    pub(super) from_scanner: bool,
    pub(super) text: Cow<'static, str>,
}

pub(super) type Outcome<T> = Result<T, Box<Problem>>;

#[derive(Debug)]
pub(super) enum Kind<'a> {
    StreamStart,
    StreamEnd,
    Version(u8, u8),
    TagDirective { handle: &'a str, prefix: String },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'a str),
    Anchor(&'a str),
    Tag { handle: String, suffix: String },
    Scalar { text: Cow<'a, str>, style: Style },
}

#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) start: Mark,
}

#[derive(Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token: usize,
    mark: Mark,
}

pub(super) struct Scanner<'a> {
    src: &'a str,
    bytes: &'a [u8],
    pos: usize,
    mark: Mark,
    tokens: VecDeque<Token<'a>>,
    /// Tokens handed out so far: the number of the token at the head of the queue.
    taken: usize,
    started: bool,
    flow_level: usize,
    indent: i64,
    indents: Vec<i64>,
    simple_key_allowed: bool,
    simple_keys: Vec<SimpleKey>,
    max_depth: usize,
    /// Tokens kept beyond the head before anything is handed out: an error that far ahead wins.
    lookahead: usize,
    /// Where comments start, and their bytes; kept where they are wanted.
    pub(super) comments: Option<Vec<(Mark, std::ops::Range<usize>)>>,
}

pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

impl<'a> Scanner<'a> {
    pub(super) fn new(src: &'a str, max_depth: usize, lookahead: usize) -> Self {
        Self {
            src,
            bytes: src.as_bytes(),
            pos: 0,
            mark: Mark::default(),
            tokens: VecDeque::with_capacity(16),
            taken: 0,
            started: false,
            flow_level: 0,
            indent: -1,
            indents: Vec::new(),
            simple_key_allowed: true,
            simple_keys: vec![SimpleKey::default()],
            max_depth,
            lookahead,
            comments: None,
        }
    }

    /// The next token, without taking it. After the end of the stream, the end again.
    pub(super) fn peek(&mut self) -> Outcome<&Token<'a>> {
        self.fetch_more()?;
        match self.tokens.front() {
            Some(token) => Ok(token),
            None => Err(self.problem(self.mark, "attempted to go past the end of stream")),
        }
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Outcome<Token<'a>> {
        self.fetch_more()?;
        match self.tokens.pop_front() {
            Some(token) => {
                self.taken += 1;
                Ok(token)
            }
            None => Err(self.problem(self.mark, "attempted to go past the end of stream")),
        }
    }

    fn problem(&self, context: Mark, text: impl Into<Cow<'static, str>>) -> Box<Problem> {
        Box::new(Problem {
            context_line: context.line,
            problem_line: self.mark.line,
            from_scanner: true,
            text: text.into(),
        })
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.pos + ahead).copied().unwrap_or(0)
    }

    fn at_end(&self) -> bool {
        self.pos >= self.bytes.len()
    }

    /// Bytes of the line break at `ahead`, or 0 when there is none.
    fn break_width(&self, ahead: usize) -> usize {
        match self.byte(ahead) {
            b'\n' => 1,
            b'\r' if self.byte(ahead + 1) == b'\n' => 2,
            b'\r' => 1,
            0xC2 if self.byte(ahead + 1) == 0x85 => 2,
            0xE2 if self.byte(ahead + 1) == 0x80 && matches!(self.byte(ahead + 2), 0xA8 | 0xA9) => 3,
            _ => 0,
        }
    }

    fn is_break(&self, ahead: usize) -> bool {
        self.break_width(ahead) > 0
    }

    fn is_blankz(&self, ahead: usize) -> bool {
        let byte = self.byte(ahead);
        is_blank(byte) || byte == 0 || self.is_break(ahead)
    }

    fn is_breakz(&self) -> bool {
        self.byte(0) == 0 || self.is_break(0)
    }

    /// Steps over one character.
    fn skip(&mut self) {
        let byte = self.byte(0);
        self.pos += match byte {
            0..0x80 => 1,
            0x80..0xE0 => 2,
            0xE0..0xF0 => 3,
            _ => 4,
        };
        self.mark.index += 1;
        self.mark.column += 1;
    }

    /// Steps over a line break and returns what it counts as.
    fn skip_break(&mut self) -> &'static str {
        let width = self.break_width(0);
        let text = match (self.byte(0), width) {
            (0xE2, 3) if self.byte(2) == 0xA8 => "\u{2028}",
            (0xE2, 3) => "\u{2029}",
            (_, 0) => "",
            _ => "\n",
        };
        if width > 0 {
            self.pos += width;
            self.mark.index += if width == 2 && text == "\n" { 2 } else { 1 };
            self.mark.line += 1;
            self.mark.column = 0;
        }
        text
    }

    fn column(&self) -> i64 {
        i64::from(self.mark.column)
    }

    fn push(&mut self, kind: Kind<'a>, start: Mark) {
        self.tokens.push_back(Token { kind, start });
    }

    /// Fetches until the head of the queue can no longer turn out to be a simple key.
    fn fetch_more(&mut self) -> Outcome<()> {
        loop {
            if self.tokens.len() > self.lookahead {
                let head = self.taken;
                match self.simple_keys.iter().rposition(|k| k.possible && k.token == head) {
                    None => return Ok(()),
                    Some(at) => {
                        if !self.key_is_valid(at)? {
                            return Ok(());
                        }
                    }
                }
            }
            self.fetch_next()?;
        }
    }

    fn fetch_next(&mut self) -> Outcome<()> {
        if !self.started {
            self.started = true;
            self.push(Kind::StreamStart, self.mark);
            return Ok(());
        }
        self.skip_to_next_token();
        self.unroll_indent(self.column());
        if self.byte(0) == 0 {
            return self.fetch_stream_end();
        }
        let byte = self.byte(0);
        if self.mark.column == 0 {
            if byte == b'%' {
                self.unroll_indent(-1);
                self.remove_simple_key()?;
                self.simple_key_allowed = false;
                return self.fetch_directive();
            }
            if let Some(kind) = self.document_indicator() {
                self.unroll_indent(-1);
                self.remove_simple_key()?;
                self.simple_key_allowed = false;
                let start = self.mark;
                for _ in 0..3 {
                    self.skip();
                }
                self.push(kind, start);
                return Ok(());
            }
        }
        let flow = self.flow_level > 0;
        match byte {
            b'[' => self.fetch_flow_start(Kind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Kind::FlowMappingStart),
            b']' => self.fetch_flow_end(Kind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Kind::FlowMappingEnd),
            b',' => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.push_indicator(Kind::FlowEntry);
                Ok(())
            }
            b'-' if self.is_blankz(1) => self.fetch_block_entry(),
            b'?' if flow || self.is_blankz(1) => self.fetch_key(),
            b':' if flow || self.is_blankz(1) => self.fetch_value(),
            b'*' | b'&' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                self.fetch_anchor(byte == b'*')
            }
            b'!' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                self.fetch_tag()
            }
            b'|' | b'>' if !flow => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.fetch_block_scalar(byte == b'|')
            }
            b'\'' | b'"' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                self.fetch_quoted_scalar(byte == b'\'')
            }
            _ if self.starts_plain(byte) => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                self.fetch_plain_scalar()
            }
            _ => Err(self.problem(self.mark, "found character that cannot start any token")),
        }
    }

    fn starts_plain(&self, byte: u8) -> bool {
        match byte {
            b'-' => !is_blank(self.byte(1)),
            b'?' | b':' => self.flow_level == 0 && !self.is_blankz(1),
            b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"'
            | b'%' | b'@' | b'`' => false,
            _ => !self.is_blankz(0),
        }
    }

    /// `---` or `...` at the start of a line.
    fn document_indicator(&self) -> Option<Kind<'a>> {
        let rest = self.bytes.get(self.pos..self.pos + 3)?;
        if rest == b"---" && self.is_blankz(3) {
            Some(Kind::DocumentStart)
        } else if rest == b"..." && self.is_blankz(3) {
            Some(Kind::DocumentEnd)
        } else {
            None
        }
    }

    fn push_indicator(&mut self, kind: Kind<'a>) {
        let start = self.mark;
        self.skip();
        self.push(kind, start);
    }

    fn fetch_stream_end(&mut self) -> Outcome<()> {
        if !self.at_end() {
            return Err(self.problem(Mark::default(), "control characters are not allowed"));
        }
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.push(Kind::StreamEnd, self.mark);
        Ok(())
    }

    fn skip_to_next_token(&mut self) {
        loop {
            if self.mark.column == 0 && self.bytes.get(self.pos..self.pos + 3) == Some(b"\xEF\xBB\xBF") {
                self.skip();
            }
            while self.byte(0) == b' '
                || (self.byte(0) == b'\t' && (self.flow_level > 0 || !self.simple_key_allowed))
            {
                self.skip();
            }
            if self.byte(0) == b'#' {
                self.skip_comment();
            }
            if !self.is_break(0) {
                return;
            }
            self.skip_break();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    fn skip_comment(&mut self) {
        let (mark, from) = (self.mark, self.pos);
        while !self.is_breakz() {
            self.skip();
        }
        if let Some(comments) = &mut self.comments {
            comments.push((mark, from..self.pos));
        }
    }
}
