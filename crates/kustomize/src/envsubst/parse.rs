//! Text to expressions.

use super::Error;

/// A piece of text, or an expression.
pub(super) enum Node {
    Text(String),
    Call { name: String, operator: String, arguments: Vec<Node> },
}

/// What a scan may find.
#[derive(PartialEq)]
enum Token {
    End,
    Open,
    Close,
    Text,
    Illegal,
}

/// What a scan looks for.
#[derive(Clone, Copy, Default)]
struct Mode {
    text: bool,
    open: bool,
    close: bool,
    dollar_escapes: bool,
    slash_escapes: bool,
}

const TEXT: Mode =
    Mode { text: true, open: false, close: false, dollar_escapes: false, slash_escapes: false };
const CLOSE: Mode =
    Mode { text: false, open: false, close: true, dollar_escapes: false, slash_escapes: false };

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Width of what was read last: stepping back goes by it, as upstream's scanner does.
    width: usize,
    token: String,
    depth: usize,
    max_depth: usize,
}

/// Parses a whole text.
pub(super) fn parse(text: &str, max_depth: usize) -> Result<Vec<Node>, Error> {
    let mut scanner = Scanner { text, at: 0, width: 0, token: String::new(), depth: 0, max_depth };
    let mut nodes = Vec::new();
    loop {
        let mode = Mode { text: true, open: true, dollar_escapes: true, ..Mode::default() };
        match scanner.scan(mode, |_, _| true) {
            Token::Text => nodes.push(Node::Text(std::mem::take(&mut scanner.token))),
            Token::Open => nodes.push(scanner.call()?),
            Token::End => return Ok(nodes),
            Token::Close | Token::Illegal => return Err(Error::BadSubstitution),
        }
    }
}

fn in_name(c: char, _: usize) -> bool {
    c.is_alphabetic() || c.is_numeric() || c == '_'
}

fn not_closing(c: char, _: usize) -> bool {
    c != '}'
}

impl Scanner<'_> {
    fn read(&mut self) -> Option<char> {
        let c = self.text.get(self.at..).and_then(|rest| rest.chars().next()).filter(|c| *c != '\0');
        self.width = c.map_or(0, char::len_utf8);
        self.at += self.width;
        c
    }

    fn unread(&mut self) {
        self.at = self.at.saturating_sub(self.width);
        while !self.text.is_char_boundary(self.at) {
            self.at -= 1;
        }
    }

    fn peek(&mut self) -> Option<char> {
        let c = self.read();
        self.unread();
        c
    }

    fn opens(&mut self, c: char, mode: Mode) -> bool {
        if !mode.open || c != '$' {
            return false;
        }
        if self.read() == Some('{') {
            return true;
        }
        self.unread();
        false
    }

    fn escapes(&mut self, c: char, mode: Mode) -> bool {
        (c == '$' && mode.dollar_escapes && self.peek() == Some('$'))
            || (c == '\\' && mode.slash_escapes && matches!(self.peek(), Some('/' | '\\')))
    }

    /// Reads one token; a text ends before the first character that `accept` refuses. `accept`
    /// is told how many bytes the token has, with that character.
    fn scan(&mut self, mode: Mode, accept: impl Fn(char, usize) -> bool) -> Token {
        self.token.clear();
        let Some(first) = self.read() else { return Token::End };
        if self.opens(first, mode) {
            return Token::Open;
        }
        if mode.close && first == '}' {
            return Token::Close;
        }
        if !mode.text {
            return Token::Illegal;
        }
        if self.escapes(first, mode) {
            let escaped = self.read();
            self.token.extend(escaped);
        } else if accept(first, first.len_utf8()) {
            self.token.push(first);
        } else {
            return Token::Illegal;
        }
        loop {
            let before = self.at;
            let Some(c) = self.read() else { break };
            if self.opens(c, mode) {
                self.at = before;
                break;
            }
            if self.escapes(c, mode) {
                let escaped = self.read();
                self.token.extend(escaped);
            } else if accept(c, self.token.len() + c.len_utf8()) {
                self.token.push(c);
            } else {
                self.at = before;
                break;
            }
        }
        Token::Text
    }

    fn text(&mut self, accept: impl Fn(char, usize) -> bool) -> Option<String> {
        match self.scan(TEXT, accept) {
            Token::Text => Some(std::mem::take(&mut self.token)),
            _ => None,
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        if self.scan(CLOSE, |_, _| false) == Token::Close { Ok(()) } else { Err(Error::BadSubstitution) }
    }

    /// What follows `${`.
    fn call(&mut self) -> Result<Node, Error> {
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(Error::Limit { what: "nested expressions", limit: self.max_depth as u64 });
        }
        let node = self.call_here();
        self.depth -= 1;
        node
    }

    fn call_here(&mut self) -> Result<Node, Error> {
        if self.peek() == Some('#') {
            let operator = self.text(|c, i| c == '#' && i == 1).ok_or(Error::BadSubstitution)?;
            let name = self.text(in_name).ok_or(Error::BadSubstitution)?;
            self.close()?;
            return Ok(Node::Call { name, operator, arguments: Vec::new() });
        }
        let name = self.text(in_name).ok_or(Error::VariableName)?;
        match self.peek() {
            Some(':') => {
                self.read();
                let next = self.peek();
                self.unread();
                if matches!(next, Some('=' | '-' | '?' | '+')) {
                    self.default_value(name)
                } else {
                    self.substring(name)
                }
            }
            Some('=') => self.default_value(name),
            Some(',' | '^') => {
                let operator = self.text(|c, i| matches!(c, ',' | '^') && i < 3);
                let operator = operator.ok_or(Error::BadSubstitution)?;
                self.close()?;
                Ok(Node::Call { name, operator, arguments: Vec::new() })
            }
            Some('/') => self.replacement(name),
            Some(sign @ ('#' | '%')) => {
                let operator = self.text(|c, i| c == sign && i < 3).ok_or(Error::BadSubstitution)?;
                let pattern = self.argument(TEXT, not_closing)?;
                self.close()?;
                Ok(Node::Call { name, operator, arguments: vec![pattern] })
            }
            _ => match self.scan(CLOSE, in_name) {
                Token::Close => Ok(Node::Call { name, operator: String::new(), arguments: Vec::new() }),
                _ => Err(Error::MissingClosingBrace),
            },
        }
    }

    fn argument(&mut self, mode: Mode, accept: impl Fn(char, usize) -> bool) -> Result<Node, Error> {
        match self.scan(Mode { open: true, ..mode }, accept) {
            Token::Open => self.call(),
            Token::Text | Token::Close => Ok(Node::Text(std::mem::take(&mut self.token))),
            Token::End | Token::Illegal => Err(Error::FunctionArgument),
        }
    }

    fn default_value(&mut self, name: String) -> Result<Node, Error> {
        let short = self.peek() == Some('=');
        let operator = self.text(|c, i| {
            if short { i == 1 && c == '=' } else { (i == 1 && c == ':') || (i == 2 && "=-?+".contains(c)) }
        });
        let operator = operator.ok_or(Error::DefaultFunction)?;
        let mut arguments = Vec::new();
        while self.peek() != Some('}') {
            arguments.push(self.argument(TEXT, not_closing)?);
        }
        self.close()?;
        Ok(Node::Call { name, operator, arguments })
    }

    fn substring(&mut self, name: String) -> Result<Node, Error> {
        let operator = self.text(|c, i| c == ':' && i == 1).ok_or(Error::BadSubstitution)?;
        let offset = self.argument(TEXT, |c, _| c != ':' && c != '}')?;
        match self.scan(Mode { close: true, ..TEXT }, |c, _| c == ':') {
            Token::Close => return Ok(Node::Call { name, operator, arguments: vec![offset] }),
            Token::Text => {}
            _ => return Err(Error::BadSubstitution),
        }
        let length = self.argument(TEXT, not_closing)?;
        self.close()?;
        Ok(Node::Call { name, operator, arguments: vec![offset, length] })
    }

    fn replacement(&mut self, name: String) -> Result<Node, Error> {
        let escaped = Mode { dollar_escapes: true, slash_escapes: true, ..TEXT };
        let operator = self.text(|c, i| (i == 1 && c == '/') || (i == 2 && "/#%".contains(c)));
        let operator = operator.ok_or(Error::BadSubstitution)?;
        let mut arguments = vec![self.argument(escaped, |c, _| c != '/')?];
        if self.text(|c, _| c == '/').is_none() {
            return Err(Error::BadSubstitution);
        }
        if self.peek() != Some('}') {
            arguments.push(self.argument(escaped, not_closing)?);
        }
        self.close()?;
        Ok(Node::Call { name, operator, arguments })
    }
}
