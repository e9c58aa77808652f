//! What can be said about a parsed expression before it meets an object.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators};

use crate::environment::CHARGE;
use crate::growth::{self, JOIN, READ, REPLACE, WEIGH};
use crate::{Error, MAX_NESTING};

/// Names that stand for types or for the prefix of functions, not for variables.
const WORDS: &[&str] = &[
    "base64",
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "google",
    "int",
    "list",
    "map",
    "null_type",
    "optional",
    "optional_type",
    "sets",
    "string",
    "strings",
    "timestamp",
    "type",
    "uint",
];

/// How deep operations may be nested: chains such as `a.b.c` or `1 + 1 + 1` nest to the left.
/// Walking and evaluating recurse this deep.
const MAX_DEPTH: usize = 48;

/// Refuses an expression that would be too deep to walk; itself it does not recurse.
pub(crate) fn bound_depth(expr: &IdedExpr) -> Result<(), Error> {
    let mut open = vec![(expr, 1_usize)];
    while let Some((expr, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(Error::TooLarge("it is nested too deep"));
        }
        // What is paid for by a call around it lies one deeper than it is written.
        let below = depth + if growth::is_wrapped(&expr.expr) { 2 } else { 1 };
        let mut visit = |part| open.push((part, below));
        match &expr.expr {
            Expr::Call(call) => {
                call.target.iter().for_each(|target| visit(target));
                call.args.iter().for_each(visit);
            }
            Expr::List(list) => list.elements.iter().for_each(visit),
            Expr::Map(map) => map.entries.iter().for_each(|e| entry_parts(&e.expr, &mut visit)),
            Expr::Struct(all) => all.entries.iter().for_each(|e| entry_parts(&e.expr, &mut visit)),
            Expr::Select(select) => visit(&select.operand),
            Expr::Comprehension(inner) => {
                visit(&inner.iter_range);
                visit(&inner.accu_init);
                visit(&inner.loop_cond);
                visit(&inner.loop_step);
                visit(&inner.result);
            }
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
    }
    Ok(())
}

fn entry_parts<'e>(entry: &'e EntryExpr, visit: &mut impl FnMut(&'e IdedExpr)) {
    match entry {
        EntryExpr::MapEntry(entry) => {
            visit(&entry.key);
            visit(&entry.value);
        }
        EntryExpr::StructField(field) => visit(&field.value),
    }
}

/// Makes every loop pay for the elements it visits, and refuses too many nested loops.
pub(crate) fn meter(expr: &mut IdedExpr, nesting: usize) -> Result<(), Error> {
    if let Expr::Comprehension(inner) = &mut expr.expr {
        if nesting >= MAX_NESTING {
            return Err(Error::TooLarge("loops are nested too deep"));
        }
        meter(&mut inner.iter_range, nesting + 1)?;
        let range = std::mem::take(&mut inner.iter_range);
        inner.iter_range = IdedExpr {
            id: range.id,
            expr: Expr::Call(CallExpr { func_name: CHARGE.to_owned(), target: None, args: vec![range] }),
        };
        for part in [&mut inner.accu_init, &mut inner.loop_cond, &mut inner.loop_step, &mut inner.result] {
            meter(part, nesting + 1)?;
        }
        return Ok(());
    }
    match &mut expr.expr {
        Expr::Call(call) => {
            for part in call.target.iter_mut().map(AsMut::as_mut) {
                meter(part, nesting)?;
            }
            for part in &mut call.args {
                meter(part, nesting)?;
            }
        }
        Expr::List(list) => {
            for part in &mut list.elements {
                meter(part, nesting)?;
            }
        }
        Expr::Map(map) => {
            for entry in &mut map.entries {
                meter_entry(&mut entry.expr, nesting)?;
            }
        }
        Expr::Struct(fields) => {
            for entry in &mut fields.entries {
                meter_entry(&mut entry.expr, nesting)?;
            }
        }
        Expr::Select(select) => meter(&mut select.operand, nesting)?,
        _ => {}
    }
    growth::bound_call(expr);
    growth::bound_parts(expr);
    Ok(())
}

fn meter_entry(entry: &mut EntryExpr, nesting: usize) -> Result<(), Error> {
    match entry {
        EntryExpr::MapEntry(entry) => {
            meter(&mut entry.key, nesting)?;
            meter(&mut entry.value, nesting)
        }
        EntryExpr::StructField(field) => meter(&mut field.value, nesting),
    }
}

/// The first name that is neither declared, nor bound by a loop, nor a word of the language.
pub(crate) fn undeclared(expr: &IdedExpr, declared: &[&str]) -> Option<String> {
    let mut scope: Vec<String> = declared.iter().map(|&name| name.to_owned()).collect();
    find(expr, &mut scope)
}

fn find(expr: &IdedExpr, scope: &mut Vec<String>) -> Option<String> {
    match &expr.expr {
        Expr::Ident(name) => {
            let known = name.starts_with(['@', '#'])
                || WORDS.contains(&name.as_str())
                || scope.iter().any(|bound| bound == name);
            (!known).then(|| name.clone())
        }
        Expr::Select(select) => find(&select.operand, scope),
        Expr::Call(call) => {
            call.target.iter().map(AsRef::as_ref).chain(&call.args).find_map(|part| find(part, scope))
        }
        Expr::List(list) => list.elements.iter().find_map(|part| find(part, scope)),
        Expr::Map(map) => map.entries.iter().find_map(|entry| find_entry(&entry.expr, scope)),
        Expr::Struct(fields) => fields.entries.iter().find_map(|entry| find_entry(&entry.expr, scope)),
        Expr::Comprehension(inner) => {
            if let Some(name) = find(&inner.iter_range, scope).or_else(|| find(&inner.accu_init, scope)) {
                return Some(name);
            }
            let outer = scope.len();
            scope.push(inner.iter_var.clone());
            scope.extend(inner.iter_var2.clone());
            scope.push(inner.accu_var.clone());
            let found = [&inner.loop_cond, &inner.loop_step, &inner.result]
                .into_iter()
                .find_map(|part| find(part, scope));
            scope.truncate(outer);
            found
        }
        Expr::Literal(_) | Expr::Unspecified => None,
    }
}

fn find_entry(entry: &EntryExpr, scope: &mut Vec<String>) -> Option<String> {
    match entry {
        EntryExpr::MapEntry(entry) => find(&entry.key, scope).or_else(|| find(&entry.value, scope)),
        EntryExpr::StructField(field) => find(&field.value, scope),
    }
}

/// The type an expression surely yields, where its outermost operation tells.
pub(crate) fn surely(expr: &IdedExpr) -> Option<&'static str> {
    match &expr.expr {
        Expr::Literal(literal) => Some(match literal {
            LiteralValue::Boolean(_) => "bool",
            LiteralValue::Bytes(_) => "bytes",
            LiteralValue::Double(_) => "double",
            LiteralValue::Int(_) => "int",
            LiteralValue::Null => "null_type",
            LiteralValue::String(_) => "string",
            LiteralValue::UInt(_) => "uint",
        }),
        Expr::List(_) => Some("list"),
        Expr::Map(_) => Some("map"),
        Expr::Select(select) if select.test => Some("bool"),
        Expr::Comprehension(inner) => match (surely(&inner.result), surely(&inner.accu_init)) {
            (Some(kind), _) => Some(kind),
            (None, Some("list")) => Some("list"),
            (None, Some("map")) => Some("map"),
            _ => None,
        },
        Expr::Call(call) => surely_call(call),
        _ => None,
    }
}

fn surely_call(call: &CallExpr) -> Option<&'static str> {
    match (call.func_name.as_str(), call.args.as_slice()) {
        (WEIGH | READ, [paid]) => surely(paid),
        (REPLACE | JOIN, _) => Some("string"),
        (operators::CONDITIONAL, [_, yes, no]) => surely(yes).filter(|kind| surely(no) == Some(kind)),
        (operators::ADD, [left, right]) => surely(left).or_else(|| surely(right)),
        (operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO, args) => {
            args.iter().find_map(surely)
        }
        ("size" | "indexOf" | "lastIndexOf" | "int", _) => Some("int"),
        (
            "string" | "lowerAscii" | "upperAscii" | "trim" | "replace" | "join" | "substring" | "charAt"
            | "format",
            _,
        ) => Some("string"),
        ("split", _) => Some("list"),
        ("double", _) => Some("double"),
        ("uint", _) => Some("uint"),
        ("bytes", _) => Some("bytes"),
        ("timestamp", _) => Some("timestamp"),
        ("duration", _) => Some("duration"),
        ("type", _) => Some("type"),
        _ => None,
    }
}
