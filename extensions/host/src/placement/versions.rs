//! A running guest, by the version of the contract that it was built with.

use super::table::Host;
use super::{v0_1, v0_2};
use crate::contract::{Surface, V0_1};
use crate::instance::Guest;
use holdfast_model::advice::Question;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

/// Where a guest's functions are.
pub(super) enum Hooks {
    V0_1(v0_1::Hooks),
    V0_2(v0_2::Hooks),
}

impl Hooks {
    /// Those that it has. An error if they are not of the right types.
    pub(super) fn of(
        surface: &Surface,
        instance_pre: &InstancePre<Guest>,
    ) -> wasmtime::Result<Self> {
        match surface.version {
            V0_1 => Ok(Self::V0_1(v0_1::Hooks::of(instance_pre))),
            _ => v0_2::Hooks::of(instance_pre).map(Self::V0_2),
        }
    }

    /// Its functions, ready to be called. An error if they are not of the right types.
    pub(super) fn load(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Functions> {
        match self {
            Self::V0_1(hooks) => hooks.load(store, instance).map(Functions::V0_1),
            Self::V0_2(hooks) => {
                let functions = hooks.load(store, instance)?;
                Ok(Functions::V0_2(Box::new(functions)))
            }
        }
    }
}

/// A running guest's functions.
pub(super) enum Functions {
    V0_1(v0_1::Functions),
    V0_2(Box<v0_2::Functions>),
}

/// What a guest gave back, as it is.
pub(super) enum Given {
    V0_1(v0_1::Given),
    V0_2(Result<v0_2::Judgement, String>),
}

impl Functions {
    /// Whether it has to be told of hosts before it can be asked this.
    pub(super) fn has_to_be_told(&mut self, question: &Question) -> bool {
        match self {
            Self::V0_1(_) => false,
            Self::V0_2(functions) => !functions.knows(question),
        }
    }

    /// Tells it of the question's hosts, if its version has that.
    pub(super) fn tell(
        &mut self,
        store: &mut Store<Guest>,
        question: &Question,
    ) -> wasmtime::Result<()> {
        match self {
            Self::V0_1(_) => Ok(()),
            Self::V0_2(functions) => functions.tell(store, question),
        }
    }

    /// Tells it of these hosts, if its version has that.
    pub(super) fn tell_these(
        &mut self,
        store: &mut Store<Guest>,
        hosts: &[Host],
    ) -> wasmtime::Result<()> {
        match self {
            Self::V0_1(_) => Ok(()),
            Self::V0_2(functions) => functions.tell_these(store, hosts),
        }
    }

    /// Asks it.
    pub(super) fn ask(
        &mut self,
        store: &mut Store<Guest>,
        question: &Question,
    ) -> wasmtime::Result<Given> {
        match self {
            Self::V0_1(functions) => functions.ask(store, question).map(Given::V0_1),
            Self::V0_2(functions) => functions.ask(store, question).map(Given::V0_2),
        }
    }
}
