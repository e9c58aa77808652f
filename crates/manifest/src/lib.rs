//! YAML documents as Kubernetes objects: parsing and emitting exactly as the Go tools do,
//! identity, ordering, the inventory, the apply plan and what "healthy" means for built-in kinds.
//!
//! Never does IO, never reads a clock and holds no client: everything here is a pure function
//! of its arguments. The build engine, the apply adapter and the controllers may use it.

pub mod controls;
pub mod health;
pub mod id;
pub mod inventory;
pub mod object;
pub mod order;
pub mod plan;
pub mod prepare;
pub mod quantity;
pub mod yaml;

pub use controls::{Controls, SsaMode};
pub use health::{Health, Status};
pub use id::{GroupKind, ObjectId};
pub use inventory::{Entry, Inventory};
pub use object::{Object, flatten, read_objects};
pub use plan::{Plan, Policy, Report, Stage, plan, settle};
