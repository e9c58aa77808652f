//! The functions and types an expression may use.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use cel::common::types::{CelBool, DYN_TYPE, LIST_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError, extensions};

use crate::{MAX_STEPS, growth};

/// The name of the function that pays for a loop; CEL text cannot spell it.
pub(crate) const CHARGE: &str = "@charge";

thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// The environment all expressions share, or why it could not be set up.
pub(crate) fn shared() -> Result<Arc<Env>, &'static str> {
    static ENVIRONMENT: OnceLock<Result<Arc<Env>, &'static str>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| build().map(Arc::new).map_err(|_| "environment")).clone()
}

/// Runs one evaluation with a fresh budget of steps.
pub(crate) fn with_budget<T>(evaluate: impl FnOnce() -> T) -> T {
    STEPS.with(|steps| steps.set(0));
    growth::reset();
    evaluate()
}

fn build() -> Result<Env, cel::DeclarationError> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)?;
    env.add_extension(extensions::encoders)?;
    let two_lists = || vec![LIST_TYPE, LIST_TYPE];
    env.add_overload("sets.contains", "list_sets_contains_list", two_lists(), contains)?;
    env.add_overload("sets.equivalent", "list_sets_equivalent_list", two_lists(), equivalent)?;
    env.add_overload("sets.intersects", "list_sets_intersects_list", two_lists(), intersects)?;
    env.add_overload(CHARGE, "charge_dyn", vec![DYN_TYPE], charge)?;
    growth::declare(&mut env)?;
    Ok(env)
}

fn spend(steps: usize, function: &str) -> Result<(), ExecutionError> {
    STEPS.with(|spent| {
        let total = spent.get().saturating_add(steps);
        spent.set(total);
        if total > MAX_STEPS {
            return Err(ExecutionError::function_error(function, "too many steps"));
        }
        Ok(())
    })
}

fn elements<'b, 'v>(list: &'b (dyn Val + 'v)) -> Result<Vec<&'b (dyn Val + 'v)>, ExecutionError> {
    let mut found = Vec::new();
    if let Some(iterable) = list.as_iterable() {
        let mut items = iterable.iter();
        while let Some(item) = items.next() {
            found.push(item);
        }
    }
    Ok(found)
}

fn charge<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let range = args.pop().ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))?;
    let length = elements(range.as_ref())?.len();
    spend(length, "loop")?;
    Ok(range)
}

type Pair<'b, 'v> = (CowVal<'b, 'v>, CowVal<'b, 'v>);

fn pair<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<Pair<'b, 'v>, ExecutionError> {
    let [left, right]: [CowVal<'b, 'v>; 2] =
        args.try_into().map_err(|args: Vec<_>| ExecutionError::invalid_argument_count(2, args.len()))?;
    Ok((left, right))
}

fn covers(all: &[&dyn Val], some: &[&dyn Val]) -> Result<bool, ExecutionError> {
    spend(all.len().saturating_mul(some.len()), "sets")?;
    Ok(some.iter().all(|wanted| all.iter().any(|have| have.equals(*wanted))))
}

fn contains<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let (left, right) = pair(args)?;
    let answer = covers(&elements(left.as_ref())?, &elements(right.as_ref())?)?;
    Ok(CowVal::owned(CelBool::from(answer)))
}

fn equivalent<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let (left, right) = pair(args)?;
    let (left, right) = (elements(left.as_ref())?, elements(right.as_ref())?);
    let answer = covers(&left, &right)? && covers(&right, &left)?;
    Ok(CowVal::owned(CelBool::from(answer)))
}

fn intersects<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let (left, right) = pair(args)?;
    let (left, right) = (elements(left.as_ref())?, elements(right.as_ref())?);
    spend(left.len().saturating_mul(right.len()), "sets")?;
    let answer = left.iter().any(|item| right.iter().any(|other| item.equals(*other)));
    Ok(CowVal::owned(CelBool::from(answer)))
}
