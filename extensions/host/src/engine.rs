//! The engines: how WASM is compiled and run, the same on every machine.
//!
//! One per process. Its clock is a thread of its own that moves the epoch on every [`TICK`]: whatever else is
//! stuck, a guest that computes comes up for air and is asked whether its time is over ([`crate::budget`]).

use crate::error::ExtensionError;
use std::time::Duration;
use wasmtime::{Config, Engine, OptLevel};

/// How often a guest that computes is looked at.
pub const TICK: Duration = Duration::from_millis(5);
/// What the guest's own stack may take, in bytes.
const STACK_BYTES: usize = 512 * 1024;
/// Address space set aside for one memory of a guest, in bytes: all that an address of a guest can reach. What is not
/// its memory is not mapped, so the processor itself stops who strays, where machine code would else have to compare each
/// address; and growing never moves it. Nothing but address space is taken, of which there is enough for 30,000 guests.
const MEMORY_RESERVED_BYTES: u64 = 4 << 30;

/// How guests are run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// As machine code.
    #[default]
    Native,
    /// By an interpreter: for units that may not make memory executable. Many times slower.
    Pulley,
}

/// What guests are compiled and run with.
#[derive(Clone)]
pub struct Runtime {
    engine: Engine,
    kind: EngineKind,
    metered: bool,
}

impl Runtime {
    /// One for this process. Its clock ends with its last clone.
    ///
    /// # Errors
    /// If this machine cannot run it.
    pub fn new(kind: EngineKind) -> Result<Self, ExtensionError> {
        Self::start(kind, false)
    }

    /// One that counts what a guest executes, in wasmtime's fuel: the same number for the same question on every
    /// machine, which time is not. For tools: the counting slows guests down, and code compiled for it does not
    /// run without it.
    ///
    /// # Errors
    /// If this machine cannot run it.
    pub fn metered(kind: EngineKind) -> Result<Self, ExtensionError> {
        Self::start(kind, true)
    }

    fn start(kind: EngineKind, metered: bool) -> Result<Self, ExtensionError> {
        let mut config = config(kind)?;
        config.consume_fuel(metered);
        let engine = Engine::new(&config).map_err(ExtensionError::engine)?;
        let weak = engine.weak();
        std::thread::Builder::new()
            .name("ext-ticks".to_owned())
            .spawn(move || {
                loop {
                    std::thread::sleep(TICK);
                    match weak.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                }
            })
            .map_err(|error| ExtensionError::Engine(format!("no thread for its clock: {error}")))?;
        Ok(Self {
            engine,
            kind,
            metered,
        })
    }

    /// wasmtime's.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether it counts what guests execute.
    pub fn is_metered(&self) -> bool {
        self.metered
    }

    /// How guests are run.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// What compiled code has to be compiled with to run here: the same for the same build of this crate, the
    /// same settings and a processor of the same abilities.
    pub fn fingerprint(&self) -> String {
        use std::hash::{Hash, Hasher};
        let mut hasher = Fnv::default();
        self.engine
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

/// Settings that decide what an answer is: those of every machine have to be the same, so that both sites come
/// to the same decision and a recorded one can be made again.
fn config(kind: EngineKind) -> Result<Config, ExtensionError> {
    let mut config = Config::new();
    if kind == EngineKind::Pulley {
        config.target("pulley64").map_err(ExtensionError::engine)?;
    }
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(STACK_BYTES)
        .memory_reservation(MEMORY_RESERVED_BYTES)
        .memory_may_move(true)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable);
    Ok(config)
}

/// The fingerprint names files: it has to be the same in every process, which the standard hasher's is not
/// promised to be.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
