// Stands between an extension and its host, and says in words what would otherwise be a trap without any.
//
// It is the module that a component is made of. The kit puts before it what it knows: `MAIN`, the author's file;
// `EXPORTS` and `IMPORTS`, the functions of the world, with their types; `OFFERED` and `KNOWN`, the interfaces that this
// kind gets and all that there are. Behind it come the exports. When the component is built it looks whether what the
// world exports is there; when the extension is asked, whether what it hands over is what the contract says, and where
// something was thrown.

// The kit finds what is for the author between these, whatever the tool says around it.
const told = (text) => Error(`<holdfast>${text}</holdfast>`);

const quoted = (names) => names.map((name) => `\`${name}\``).join(", ");
const either = (values) => values.map((value) => JSON.stringify(value)).join(", ");

// Types are texts (`"u32"`), or lists of which the first is one (`["list", type]`); null is what is not looked at.

const WHOLE = {
  u8: [0, 255],
  s8: [-128, 127],
  u16: [0, 65535],
  s16: [-32768, 32767],
  // The engine's own numbers end here.
  u32: [0, 2147483647],
  s32: [-2147483648, 2147483647],
  u64: [0, Number.MAX_SAFE_INTEGER],
  s64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

function wanted(type) {
  if (type === null) return "something";
  const [kind, of] = typeof type === "string" ? [type] : type;
  if (kind in WHOLE) return `a whole number from ${WHOLE[kind][0]} to ${WHOLE[kind][1]}`;
  if (kind === "float") return "a number";
  if (kind === "bool") return "true or false";
  if (kind === "string") return "a text";
  if (kind === "list") return "a list";
  if (kind === "option") return `${wanted(of)}, or null`;
  if (kind === "enum") return `one of ${either(of)}`;
  if (kind === "variant") return `{ tag, val } with a tag of ${either(Object.keys(of))}`;
  return `an object with ${quoted(Object.keys(of))}`;
}

function shown(value) {
  if (value === undefined) return "is missing";
  if (typeof value === "string") return `is the text ${JSON.stringify(value.slice(0, 60))}`;
  if (typeof value === "function") return "is a function";
  if (typeof value === "bigint") return `is the BigInt ${value}n`;
  if (Array.isArray(value)) return "is a list";
  if (typeof value?.then === "function") return "is a promise";
  if (typeof value !== "object" || value === null) return `is ${String(value)}`;
  const names = Object.keys(value);
  return names.length === 0 ? "is an empty object" : `is an object with ${quoted(names.slice(0, 12))}`;
}

const misfit = (value, type) => ({ path: "", what: `${shown(value)} and has to be ${wanted(type)}` });
const inside = (fault, step) => fault && { path: step + fault.path, what: fault.what };

// Taken before anybody can put others in their place.
const { every, includes } = Array.prototype;
const { isFinite } = Number;

// Columns of numbers are what there is most of, and the engine's own loops cost a quarter of one here. `every` passes over
// places at which nothing is; `includes` finds these. What is not finite may be a number still: that is not said here.
const areFinite = (list) => every.call(list, isFinite) && !includes.call(list, undefined);

// Null if a value can become one of the type; else what is wrong with it, and where in it.
function fault(value, type) {
  if (type === null) return null;
  if (typeof type === "string") {
    let fits = typeof value === "number";
    if (type === "string") fits = typeof value === "string" && (value.isWellFormed?.() ?? true);
    else if (type === "bool") fits = typeof value === "boolean";
    else if (fits && type !== "float") {
      const [least, most] = WHOLE[type];
      fits = Number.isInteger(value) && value >= least && value <= most;
    }
    return fits ? null : misfit(value, type);
  }
  const [kind, of] = type;
  if (kind === "option") return value === undefined || value === null ? null : fault(value, of);
  if (kind === "enum") return of.includes(value) ? null : misfit(value, type);
  if (kind === "list") {
    if (ArrayBuffer.isView(value)) return null;
    if (!Array.isArray(value)) return misfit(value, type);
    if (of === "float" && areFinite(value)) return null;
    for (let at = 0; at < value.length; at++) {
      const found = fault(value[at], of);
      if (found) return inside(found, `[${at}]`);
    }
    return null;
  }
  if (typeof value !== "object" || value === null) return misfit(value, type);
  if (kind === "variant") {
    if (typeof value.tag !== "string" || !Object.hasOwn(of, value.tag)) return misfit(value, type);
    return inside(fault(value.val, of[value.tag]), ".val");
  }
  for (const name in of) {
    const found = fault(value[name], of[name]);
    if (found && value[name] === undefined) return { path: "", what: `has no \`${name}\`, it ${shown(value)}` };
    if (found) return inside(found, `.${name}`);
  }
  return null;
}

// What is not there, and what is instead.
const ABSENT = {
  console: 'words for operators go to the log: `log.write("info", text)`, with log from `holdfast:host/log@0.1.0`',
  fetch: "what goes over the network is `holdfast:host/http@0.1.0`, for the kinds that get it",
  require: "it is an ES module: use `import`",
  module: "it is an ES module: use `export`",
  exports: "it is an ES module: use `export`",
  process: "nothing of Node is there",
  Buffer: "nothing of Node is there",
  setTimeout: "there is no clock to wait by",
  setInterval: "there is no clock to wait by",
};

function words(thrown) {
  if (typeof thrown === "string") return thrown;
  if (typeof thrown?.message !== "string") return `${shown(thrown).replace(/^is /, "")} was thrown`;
  const { name = "Error", message } = thrown;
  const absent = ABSENT[/^'?(\w+)'? is not defined/.exec(message)?.[1]];
  const text = absent ? `${message}; ${absent}` : message;
  return name === "Error" ? text : `${name}: ${text}`;
}

// This very module has the name of another file, since there has to be one; the author's folder is where that is.
const OWN = /(\/(?:[^()]*\/)?)([^()/]+):\d+:\d+/.exec(Error().stack);
const FOLDER = OWN?.[1] ?? "/";

// The author's frames, the innermost first: "judge, placement.js:12:7".
function frames(thrown) {
  const found = [];
  for (const line of String(thrown?.stack ?? "").split("\n")) {
    const frame = /^\s*at (?:(.*?) )?\(?(\/[^()]*:\d+:\d+)\)?$/.exec(line);
    if (!frame || frame[2].startsWith(`${FOLDER}${OWN[2]}:`)) continue;
    const place = frame[2].startsWith(FOLDER) ? frame[2].slice(FOLDER.length) : frame[2];
    found.push(frame[1] && frame[1] !== "<anonymous>" ? `${frame[1]}, ${place}` : place);
  }
  return found.slice(0, 4);
}

// Of a module that cannot be found.
function unresolved(message) {
  if (/is not under module root|escapes module root/.test(message)) {
    return "it imports a file that is not in the extension's folder: what goes into the component has to be there";
  }
  const [, name] = /failed to resolve JavaScript import "(.*?)" from /.exec(message) ?? [];
  if (name === undefined) return null;
  if (name.startsWith("holdfast:")) {
    const same = (other) => other.split("@")[0] === name.split("@")[0];
    const offered = OFFERED.find(same);
    if (offered) {
      const right = RIGHTS[offered.split(/[/@]/)[1]];
      return `it imports \`${name}\`, which wit/world.wit does not: add \`import ${offered};\` there, and to extension.toml \
the right to it (${right})`;
    }
    const what = KNOWN.some(same) ? "this kind of extension does not get" : "there is no";
    return `${what} \`${name}\`, which it imports; there are ${quoted(OFFERED)}`;
  }
  if (name.startsWith("node:") || NODE.includes(name)) {
    return `it imports \`${name}\`, which is Node's: nothing of that is there, no file, socket or clock`;
  }
  if (/^\.{0,2}\//.test(name)) return `there is no file \`${name}\`, which it imports (with its ending, such as .js)`;
  return `there is no package \`${name}\`, which it imports: \`npm install ${name}\` in the extension's folder, if it is one`;
}
const RIGHTS = {
  log: "`log = true` under [rights]",
  state: '`state = ["vms/"]` under [rights]',
  http: '`NAME = ["POST /"]` under [rights.http]',
  agent: '`programs = ["NAME"]` under [rights]',
  probe: '`paths = ["NAME"]` or `commands = ["NAME"]` under [rights]',
};
const NODE = "assert buffer child_process crypto events fs http https net os path url util".split(" ");

// A wrong argument of an import is an error with a place, not a trap; and its errors have words.
//
// Modules of imports are made of an object that is frozen once it is complete: that is when its functions are taken.
async function guardImport(name, functions) {
  const { freeze } = Object;
  Object.freeze = (imported) => {
    for (const own of Object.keys(imported)) {
      const plain = imported[own];
      const known = functions[own];
      if (typeof plain !== "function" || !known) continue;
      const called = `${name.split("/")[1].split("@")[0]}.${own}`;
      imported[own] = (...given) => {
        known.forEach(([argument, type], at) => {
          const found = fault(given[at], type);
          if (found) throw Error(`${called}: \`${argument}${found.path}\` ${found.what}`);
        });
        try {
          // No more and no less: what is left out is null.
          return plain(...known.map((_, at) => given[at]));
        } catch (error) {
          if (error?.payload?.tag) error.message = `${error.payload.tag}: ${error.payload.val}`;
          throw error;
        }
      };
    }
    return freeze(imported);
  };
  try {
    await import(name);
  } finally {
    Object.freeze = freeze;
  }
}

// Until the component is built there is a clock; after that, asking for the time would be a trap.
let built = false;
function withoutClock() {
  const clock = (plain) =>
    function (...given) {
      if (built) throw Error("there is no clock in an extension: times come with what it is asked");
      return plain.apply(this, given);
    };
  const Plain = Date;
  Plain.now = clock(Plain.now);
  globalThis.Date = new Proxy(Plain, {
    apply: clock(() => Plain()),
    construct: (_, given, target) => {
      if (given.length === 0) Plain.now();
      return Reflect.construct(Plain, given, target === Date ? Plain : target);
    },
  });
  Plain.prototype.constructor = Date;
  const { performance } = globalThis;
  if (performance) globalThis.performance = { now: clock(() => performance.now()) };
}

function missing(own, { name, functions }) {
  const wants = `write \`export const ${name} = { ${Object.keys(functions).join(", ")} }\``;
  const there = Object.keys(own);
  if (own[name] === undefined || own[name] === null) {
    const instead = there.length === 0 ? "it exports nothing" : `it exports ${quoted(there)}`;
    return `${instead}, and no \`${name}\`: ${wants}`;
  }
  for (const each in functions) {
    const found = own[name][each];
    if (typeof found !== "function") {
      const names = Object.keys(own[name]);
      const instead = found === undefined ? "is not there" : shown(found);
      const has = names.length === 0 ? "" : ` (\`${name}\` has ${quoted(names)})`;
      return `\`${name}.${each}\` ${instead}${has}: ${wants}`;
    }
    if (/^(Async|Generator)/.test(found.constructor.name)) {
      return `\`${name}.${each}\` is an async function or a generator: there is nothing to wait for here, imports answer at \
once. Write it without \`async\`, \`await\` and \`*\``;
    }
  }
  return null;
}

let log = null;

// One function of the author's. If its result can be an error (a text), that is what is thrown in words; if not,
// whatever is thrown is a trap, and the log says why.
function guarded(own, name, each, { result, fails }) {
  const plain = own[name][each];
  return (...given) => {
    try {
      const answer = plain.apply(own[name], given);
      const found = typeof answer?.then === "function" ? misfit(answer, result ?? "string") : fault(answer, result);
      if (!found) return answer;
      const forgotten = answer === undefined ? " (is a `return` missing?)" : "";
      const where = found.path === "" ? "its answer" : `in its answer \`${found.path.replace(/^\./, "")}\``;
      throw Error(`${where} ${found.what}${forgotten}`);
    } catch (thrown) {
      const text = words(thrown);
      const from = frames(thrown);
      if (typeof thrown !== "string" || !fails) {
        log?.write("error", `${name}.${each}: ${text}${from.map((frame) => `\n  at ${frame}`).join("")}`);
      }
      if (!fails) throw thrown;
      // A text is the author's own word.
      throw typeof thrown === "string" || from.length === 0 ? text : `${text} (at ${from[0]})`;
    }
  };
}

async function main() {
  for (const [name, functions] of Object.entries(IMPORTS)) {
    await guardImport(name, functions);
    await guardImport(name.split("@")[0], functions);
    if (name.startsWith("holdfast:host/log@")) log = await import(name);
  }
  withoutClock();
  let own;
  try {
    own = await import(`./${MAIN}`);
  } catch (thrown) {
    const from = frames(thrown);
    throw told(unresolved(String(thrown?.message)) ?? `${words(thrown)}${from.map((frame) => `\n  at ${frame}`).join("")}`);
  }
  const made = EXPORTS.map((each) => {
    const lacks = missing(own, each);
    if (lacks) throw told(lacks);
    const { name, functions } = each;
    return Object.fromEntries(Object.keys(functions).map((of) => [of, guarded(own, name, of, functions[of])]));
  });
  built = true;
  return made;
}

const MADE = await main();
