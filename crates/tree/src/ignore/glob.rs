/// A shell pattern for one path segment, as Go's `filepath.Match` reads it.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    tokens: Vec<Token>,
    /// Characters that a match has at least.
    least: usize,
}

#[derive(Clone, Debug)]
enum Token {
    Char(char),
    /// `?`
    Any,
    /// `*`
    Many,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// `None` when the pattern is malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' if matches!(tokens.last(), Some(Token::Many)) => continue,
                '*' => Token::Many,
                '?' => Token::Any,
                '\\' => Token::Char(chars.next()?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                        let low = member(&mut chars)?;
                        let high = match chars.next_if_eq(&'-') {
                            Some(_) => member(&mut chars)?,
                            None => low,
                        };
                        ranges.push((low, high));
                    }
                    Token::Class { negated, ranges }
                }
                c => Token::Char(c),
            });
        }
        let least = tokens.iter().filter(|token| !matches!(token, Token::Many)).count();
        Some(Self { tokens, least })
    }

    /// True if the whole segment fits.
    pub(super) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        if name.len() < self.least {
            return false;
        }
        let (mut token, mut at) = (0, 0);
        // Where to resume when the text after the last `*` does not fit: one more character for the star.
        let mut resume: Option<(usize, usize)> = None;
        loop {
            match (self.tokens.get(token), name.get(at)) {
                (None, None) => return true,
                (Some(Token::Many), _) => {
                    resume = Some((token + 1, at));
                    token += 1;
                    continue;
                }
                (Some(wanted), Some(c)) if wanted.fits(*c) => {
                    token += 1;
                    at += 1;
                    continue;
                }
                _ => {}
            }
            match resume {
                Some((after, from)) if from < name.len() => {
                    (token, at) = (after, from + 1);
                    resume = Some((after, from + 1));
                }
                _ => return false,
            }
        }
    }
}

fn member(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

impl Token {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::Char(wanted) => *wanted == c,
            Self::Any => true,
            Self::Many => false,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_backtrack_without_blowing_up() {
        let glob = Glob::parse("a*b*c").unwrap();
        assert!(glob.matches("axxbxbxc") && !glob.matches("axxbxbx"));
        let hostile = Glob::parse(&"*a".repeat(200)).unwrap();
        assert!(!hostile.matches(&"a".repeat(150)));
        assert!(Glob::parse("").unwrap().matches(""));
    }
}
