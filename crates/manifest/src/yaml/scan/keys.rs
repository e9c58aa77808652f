//! Indicators, simple keys and indentation: what turns lines into structure.

use super::{Kind, Mark, Outcome, Scanner, SimpleKey, Token};

impl<'a> Scanner<'a> {
    pub(super) fn fetch_flow_start(&mut self, kind: Kind<'a>) -> Outcome<()> {
        self.save_simple_key()?;
        self.simple_keys.push(SimpleKey::default());
        self.flow_level += 1;
        if self.flow_level > self.max_depth {
            return Err(self.problem(self.mark, format!("exceeded max depth of {}", self.max_depth)));
        }
        self.simple_key_allowed = true;
        self.push_indicator(kind);
        Ok(())
    }

    pub(super) fn fetch_flow_end(&mut self, kind: Kind<'a>) -> Outcome<()> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            self.simple_keys.pop();
        }
        self.simple_key_allowed = false;
        self.push_indicator(kind);
        Ok(())
    }

    pub(super) fn fetch_block_entry(&mut self) -> Outcome<()> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.problem(self.mark, "block sequence entries are not allowed in this context"));
            }
            self.roll_indent(self.column(), None, Kind::BlockSequenceStart, self.mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.push_indicator(Kind::BlockEntry);
        Ok(())
    }

    pub(super) fn fetch_key(&mut self) -> Outcome<()> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.problem(self.mark, "mapping keys are not allowed in this context"));
            }
            self.roll_indent(self.column(), None, Kind::BlockMappingStart, self.mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.push_indicator(Kind::Key);
        Ok(())
    }

    pub(super) fn fetch_value(&mut self) -> Outcome<()> {
        let at = self.simple_keys.len().saturating_sub(1);
        if self.key_is_valid(at)? {
            let key = self.simple_keys.get(at).copied().unwrap_or_default();
            let place = key.token.saturating_sub(self.taken);
            self.tokens.insert(place, Token { kind: Kind::Key, start: key.mark });
            self.roll_indent(i64::from(key.mark.column), Some(place), Kind::BlockMappingStart, key.mark)?;
            if let Some(key) = self.simple_keys.last_mut() {
                key.possible = false;
            }
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return Err(self.problem(self.mark, "mapping values are not allowed in this context"));
                }
                self.roll_indent(self.column(), None, Kind::BlockMappingStart, self.mark)?;
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.push_indicator(Kind::Value);
        Ok(())
    }

    pub(super) fn key_is_valid(&mut self, at: usize) -> Outcome<bool> {
        let mark = self.mark;
        let Some(key) = self.simple_keys.get_mut(at) else { return Ok(false) };
        if !key.possible {
            return Ok(false);
        }
        if key.mark.line < mark.line || key.mark.index + 1024 < mark.index {
            if key.required {
                let context = key.mark;
                return Err(self.problem(context, "could not find expected ':'"));
            }
            key.possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    pub(super) fn save_simple_key(&mut self) -> Outcome<()> {
        if !self.simple_key_allowed {
            return Ok(());
        }
        let required = self.flow_level == 0 && self.indent == self.column();
        self.remove_simple_key()?;
        let key =
            SimpleKey { possible: true, required, token: self.taken + self.tokens.len(), mark: self.mark };
        if let Some(last) = self.simple_keys.last_mut() {
            *last = key;
        }
        Ok(())
    }

    pub(super) fn remove_simple_key(&mut self) -> Outcome<()> {
        let Some(key) = self.simple_keys.last_mut() else { return Ok(()) };
        if key.possible && key.required {
            let context = key.mark;
            return Err(self.problem(context, "could not find expected ':'"));
        }
        key.possible = false;
        Ok(())
    }

    pub(super) fn roll_indent(
        &mut self,
        column: i64,
        place: Option<usize>,
        kind: Kind<'a>,
        mark: Mark,
    ) -> Outcome<()> {
        if self.flow_level > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > self.max_depth {
            return Err(self.problem(self.mark, format!("exceeded max depth of {}", self.max_depth)));
        }
        let token = Token { kind, start: mark };
        match place {
            Some(place) => self.tokens.insert(place, token),
            None => self.tokens.push_back(token),
        }
        Ok(())
    }

    pub(super) fn unroll_indent(&mut self, column: i64) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            self.push(Kind::BlockEnd, self.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }
}
