//! Bounds on what an evaluation may build: texts and lists grow by what they are made of, and nothing else
//! would stop them before memory ends.

use std::cell::Cell;

use cel::common::ast::{CallExpr, EntryExpr, Expr, operators};
use cel::common::types::{
    CelBytes, CelInt, CelList, CelMap, CelString, DYN_TYPE, INT_TYPE, LIST_TYPE, STRING_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError, IdedExpr};

use crate::MAX_BYTES;

/// The function that pays for a value, whatever it is; CEL text cannot spell it.
pub(crate) const WEIGH: &str = "@weigh";
/// The function that pays for a text that is read.
pub(crate) const READ: &str = "@read";
/// Stand for the members of these names, and look how long the answer will be before they make it.
pub(crate) const REPLACE: &str = "@replace";
pub(crate) const JOIN: &str = "@join";

/// What a value costs beside its text.
const VALUE: usize = 32;

/// Functions whose answer is new, and about as large as what it is made of.
const MAKERS: &[&str] = &[
    "bytes",
    "charAt",
    "decode",
    "encode",
    "format",
    "lowerAscii",
    "quote",
    "reverse",
    "split",
    "string",
    "substring",
    "trim",
    "upperAscii",
];

/// What stands before the names of functions without being a value.
const SPACES: &[&str] = &["base64", "math", "optional", "sets", "strings"];

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Begins an evaluation.
pub(crate) fn reset() {
    BYTES.with(|bytes| bytes.set(0));
}

pub(crate) fn declare(env: &mut Env) -> Result<(), cel::DeclarationError> {
    let texts = || vec![STRING_TYPE, STRING_TYPE, STRING_TYPE];
    env.add_overload(WEIGH, "weigh_dyn", vec![DYN_TYPE], weigh)?;
    env.add_overload(READ, "read_dyn", vec![DYN_TYPE], read)?;
    env.add_overload(REPLACE, "replace_all", texts(), replace)?;
    env.add_overload(
        REPLACE,
        "replace_some",
        [texts(), vec![INT_TYPE]].into_iter().flatten().collect(),
        replace,
    )?;
    env.add_overload(JOIN, "join_plain", vec![LIST_TYPE], join)?;
    env.add_overload(JOIN, "join_with", vec![LIST_TYPE, STRING_TYPE], join)
}

/// Whether parts of this, or this itself, are wrapped into calls that pay.
pub(crate) fn is_wrapped(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => {
            call.target.is_some()
                || call.func_name == operators::ADD
                || MAKERS.contains(&call.func_name.as_str())
        }
        Expr::List(_) | Expr::Map(_) => true,
        _ => false,
    }
}

/// Lets a call pay for what it reads and for what it makes.
pub(crate) fn bound_call(expr: &mut IdedExpr) {
    let Expr::Call(call) = &mut expr.expr else { return };
    let stand_in = match call.func_name.as_str() {
        "replace" => Some(REPLACE),
        "join" => Some(JOIN),
        _ => None,
    };
    if let Some(name) = stand_in
        && let Some(target) = call.target.take()
    {
        name.clone_into(&mut call.func_name);
        call.args.insert(0, *target);
        return;
    }
    // What is added to a list is paid for as an element; loops that collect are told by this very shape.
    let collects = call.args.iter().any(|part| matches!(part.expr, Expr::List(_)));
    let name = call.func_name.as_str();
    let makes = MAKERS.contains(&name) || (name == operators::ADD && !collects);
    if let Some(target) = &mut call.target
        && !matches!(&target.expr, Expr::Ident(name) if SPACES.contains(&name.as_str()))
    {
        pay(target, READ);
    }
    if makes {
        // Before it is made: a loop goes on after an error, and each turn must be cheap then.
        call.args.iter_mut().for_each(|part| pay(part, READ));
        pay(expr, WEIGH);
    }
}

/// Lets what is put into a list or map, which is a copy of it, be paid for.
pub(crate) fn bound_parts(expr: &mut IdedExpr) {
    match &mut expr.expr {
        Expr::List(list) => list.elements.iter_mut().for_each(|part| pay(part, WEIGH)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    pay(&mut entry.key, WEIGH);
                    pay(&mut entry.value, WEIGH);
                }
            }
        }
        _ => {}
    }
}

/// Literals are as large as the text, and what was paid for is not paid for again.
fn pay(expr: &mut IdedExpr, how: &str) {
    let paid = match &expr.expr {
        Expr::Literal(_) => true,
        Expr::Call(call) => call.func_name == WEIGH,
        _ => false,
    };
    if !paid {
        let value = std::mem::take(expr);
        let id = value.id;
        let call = CallExpr { func_name: how.to_owned(), target: None, args: vec![value] };
        *expr = IdedExpr { id, expr: Expr::Call(call) };
    }
}

fn spend(size: usize) -> Result<(), ExecutionError> {
    BYTES.with(|spent| {
        let total = spent.get().saturating_add(size);
        spent.set(total);
        if total > MAX_BYTES {
            return Err(ExecutionError::function_error("expression", "too much data"));
        }
        Ok(())
    })
}

fn weigh<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = args.pop().ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))?;
    weigh_value(value.as_ref())?;
    Ok(value)
}

fn read<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = args.pop().ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))?;
    spend(length(value.as_ref()).unwrap_or_default())?;
    Ok(value)
}

fn length(value: &dyn Val) -> Option<usize> {
    let text = value.downcast_ref::<CelString>().map(|text| text.inner().len());
    text.or_else(|| value.downcast_ref::<CelBytes>().map(|bytes| bytes.inner().len()))
}

/// Ends as soon as the budget does, so that it costs no more than that.
fn weigh_value(value: &dyn Val) -> Result<(), ExecutionError> {
    spend(VALUE + length(value).unwrap_or_default())?;
    if let Some(list) = value.downcast_ref::<CelList>() {
        return list.inner().iter().try_for_each(|item| weigh_value(item.as_ref()));
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        return map.inner().values().try_for_each(|item| weigh_value(item.as_ref()));
    }
    Ok(())
}

fn text<'a>(args: &'a [CowVal<'_, '_>], at: usize) -> Result<&'a str, ExecutionError> {
    let found = args.get(at).and_then(|value| value.downcast_ref::<CelString>());
    found.map(|text| text.inner()).ok_or_else(|| ExecutionError::invalid_argument_count(3, at))
}

fn replace<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let (this, from, to) = (text(&args, 0)?, text(&args, 1)?, text(&args, 2)?);
    let most = args.get(3).and_then(|value| value.downcast_ref::<CelInt>()).map(|number| *number.inner());
    let most = most.and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX);
    let count = this.matches(from).take(most).count();
    spend(VALUE + this.len().saturating_add(count.saturating_mul(to.len())))?;
    Ok(CowVal::owned(CelString::from(this.replacen(from, to, count))))
}

fn join<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let list = args.first().and_then(|value| value.downcast_ref::<CelList>());
    let list = list.ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))?;
    let between = if args.len() > 1 { text(&args, 1)? } else { "" };
    let mut parts = Vec::with_capacity(list.inner().len());
    for item in list.inner() {
        let part = item.downcast_ref::<CelString>();
        let part = part.ok_or_else(|| ExecutionError::function_error("join", "not a text"))?;
        spend(part.inner().len() + between.len())?;
        parts.push(part.inner());
    }
    Ok(CowVal::owned(CelString::from(parts.join(between))))
}
