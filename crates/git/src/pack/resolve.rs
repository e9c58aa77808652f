//! The second reading: deltas and their bases, to learn the names of what deltas lead to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use gix::ObjectId;
use gix::objs::Kind;

use super::{Form, Pack, PackError, delta, name};

/// Bytes of objects that are held because more deltas build on them; what is beyond is made again.
const HELD: usize = 8 << 20;
/// Deltas may build on each other so often; Git itself knows no longer lines.
const LINE: usize = 4096;

/// Finds objects that a pack builds on without holding them.
pub(crate) type Outside<'a> = &'a dyn Fn(&ObjectId) -> Option<(Kind, Vec<u8>)>;

/// An object on the way down from a whole one, and which deltas are still to be made from it.
struct Step {
    place: Place,
    kind: Kind,
    bytes: Option<Vec<u8>>,
    deltas: Vec<u32>,
}

#[derive(Clone, Copy)]
enum Place {
    Entry(u32),
    Outside(ObjectId),
}

/// What builds on what.
struct Dependents {
    /// The first delta on each entry, and each delta's next sibling.
    first: Vec<Option<u32>>,
    next: Vec<Option<u32>>,
    named: HashMap<ObjectId, Vec<u32>>,
}

impl Dependents {
    fn of(pack: &Pack) -> Self {
        let count = pack.entries.len();
        let (mut first, mut next) = (vec![None; count], vec![None; count]);
        let mut named: HashMap<ObjectId, Vec<u32>> = HashMap::new();
        for (number, entry) in pack.entries.iter().enumerate().rev() {
            // A pack tells the number of its entries in 32 bits.
            let Ok(number) = u32::try_from(number) else { continue };
            match entry.form {
                Form::Whole => {}
                Form::Named(base) => named.entry(base).or_default().push(number),
                Form::Delta(base) => {
                    if let (Some(first), Some(next)) =
                        (first.get_mut(base as usize), next.get_mut(number as usize))
                    {
                        *next = first.replace(number);
                    }
                }
            }
        }
        Self { first, next, named }
    }

    /// Whatever builds on an entry, asked once.
    fn take(&mut self, entry: u32, id: &ObjectId) -> Vec<u32> {
        let mut found = self.named.remove(id).unwrap_or_default();
        let mut at = self.first.get(entry as usize).copied().flatten();
        while let Some(number) = at {
            found.push(number);
            at = self.next.get(number as usize).copied().flatten();
        }
        found
    }
}

impl Pack {
    /// Names every object. Answers the objects from outside that the pack builds on.
    pub(crate) fn resolve(
        &mut self,
        outside: Outside<'_>,
        interrupt: &AtomicBool,
    ) -> Result<Vec<ObjectId>, PackError> {
        let mut dependents = Dependents::of(self);
        for number in 0_u32.. {
            let Some(entry) = self.entries.get(number as usize) else { break };
            // Deltas are named on the way down from what they build on.
            let (Form::Whole, Some((kind, id))) = (entry.form, entry.name) else { continue };
            let deltas = dependents.take(number, &id);
            let step = Step { place: Place::Entry(number), kind, bytes: None, deltas };
            self.descend(step, &mut dependents, outside, interrupt)?;
        }
        let mut bases = Vec::new();
        let mut wanted: Vec<ObjectId> = dependents.named.keys().copied().collect();
        wanted.sort_unstable();
        let mut missing = None;
        for base in wanted {
            // An earlier one may have led to it.
            if !dependents.named.contains_key(&base) {
                continue;
            }
            let Some((kind, bytes)) = outside(&base) else {
                missing = Some(base);
                continue;
            };
            let deltas = dependents.named.remove(&base).unwrap_or_default();
            bases.push(base);
            let step = Step { place: Place::Outside(base), kind, bytes: Some(bytes), deltas };
            self.descend(step, &mut dependents, outside, interrupt)?;
        }
        match missing.filter(|base| dependents.named.contains_key(base)) {
            Some(base) => Err(PackError::Base(base)),
            None if self.entries.iter().all(|entry| entry.name.is_some()) => Ok(bases),
            None => Err(PackError::Damaged("deltas build on each other")),
        }
    }

    /// Makes everything that builds on one object.
    fn descend(
        &mut self,
        from: Step,
        dependents: &mut Dependents,
        outside: Outside<'_>,
        interrupt: &AtomicBool,
    ) -> Result<(), PackError> {
        let mut steps = vec![from];
        while let Some(mut step) = steps.pop() {
            let Some(number) = step.deltas.pop() else { continue };
            if interrupt.load(Ordering::Relaxed) {
                return Err(PackError::Interrupted);
            }
            let base = match step.bytes.take() {
                Some(bytes) => bytes,
                None => self.make(&steps, &step, outside)?,
            };
            let bytes = delta::apply(&base, &self.inflate(self.entry(number)?)?, self.limit)?;
            let (kind, id) = (step.kind, name(step.kind, &bytes)?);
            if let Some(entry) = self.entries.get_mut(number as usize) {
                entry.name = Some((kind, id));
            }
            // Kept in the line even when nothing more is made of it: what follows is made from it again.
            step.bytes = (!step.deltas.is_empty()).then_some(base);
            steps.push(step);
            let deltas = dependents.take(number, &id);
            if steps.len() > LINE {
                return Err(PackError::Damaged("too many deltas build on each other"));
            }
            if !deltas.is_empty() {
                steps.push(Step { place: Place::Entry(number), kind, bytes: Some(bytes), deltas });
            }
            let mut held: usize = steps.iter().filter_map(|step| step.bytes.as_ref()).map(Vec::len).sum();
            let above = steps.len().saturating_sub(1);
            for step in steps.iter_mut().take(above) {
                if held <= HELD {
                    break;
                }
                held -= step.bytes.take().map_or(0, |bytes| bytes.len());
            }
        }
        Ok(())
    }

    /// Makes an object again, from the nearest one in its line that is still there.
    fn make(&self, line: &[Step], last: &Step, outside: Outside<'_>) -> Result<Vec<u8>, PackError> {
        let start = line.iter().rposition(|step| step.bytes.is_some()).unwrap_or_default();
        let mut made: Option<Vec<u8>> = None;
        for step in line.iter().skip(start).chain([last]) {
            made = Some(match (made, &step.bytes, step.place) {
                (_, Some(bytes), _) => bytes.clone(),
                (None, None, Place::Outside(id)) => outside(&id).ok_or(PackError::Base(id))?.1,
                (None, None, Place::Entry(number)) => self.inflate(self.entry(number)?)?,
                (Some(base), None, Place::Entry(number)) => {
                    delta::apply(&base, &self.inflate(self.entry(number)?)?, self.limit)?
                }
                (Some(_), None, Place::Outside(_)) => return Err(PackError::Damaged("a line begins twice")),
            });
        }
        made.ok_or(PackError::Damaged("a line is empty"))
    }

    /// Hands out every object; for small packs.
    pub(crate) fn objects(
        &self,
        outside: Outside<'_>,
        mut each: impl FnMut(Kind, ObjectId, &[u8]) -> Result<(), PackError>,
    ) -> Result<(), PackError> {
        let names: HashMap<ObjectId, u32> = (0_u32..)
            .zip(&self.entries)
            .filter_map(|(number, entry)| Some((entry.name?.1, number)))
            .collect();
        for entry in &self.entries {
            let (kind, id) = entry.name.ok_or(PackError::Damaged("an object has no name"))?;
            let mut deltas = Vec::new();
            let mut at = entry;
            let mut bytes = loop {
                let below = match at.form {
                    Form::Whole => break self.inflate(at)?,
                    Form::Delta(base) => Some(base),
                    Form::Named(base) => match names.get(&base) {
                        Some(number) => Some(*number),
                        None => {
                            deltas.push(at);
                            break outside(&base).ok_or(PackError::Base(base))?.1;
                        }
                    },
                };
                deltas.push(at);
                if deltas.len() > self.entries.len() {
                    return Err(PackError::Damaged("deltas build on each other"));
                }
                at = self.entry(below.unwrap_or_default())?;
            };
            for delta in deltas.iter().rev() {
                bytes = delta::apply(&bytes, &self.inflate(delta)?, self.limit)?;
            }
            each(kind, id, &bytes)?;
        }
        Ok(())
    }
}
