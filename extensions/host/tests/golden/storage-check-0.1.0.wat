;; A storage check of 0.1.0: golden, never changed (README.md).
;;
;; Reachable is what has room that can be looked at, by the path `storage`. Usable is what can be read there within a
;; second and is not read-only; words for a no are the kind of the file system. Synced is what the command `heal` ends
;; with 0 for; words for a no are its output, and for what cannot be told, its complaints.
(component
  (import "holdfast:host/log@0.1.0" (instance $log
    (type $level-of (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level-of)))
    (type $write-of (func (param "level" $level) (param "message" string)))
    (export "write" (func (type $write-of)))))
  (import "holdfast:host/probe@0.1.0" (instance $probe
    (type $space-of (record
      (field "total-bytes" u64) (field "free-bytes" u64) (field "read-only" bool) (field "kind" string)))
    (export "space" (type $space (eq $space-of)))
    (type $exit-code (option s32))
    (type $output-of (record
      (field "exit-code" $exit-code) (field "stdout" string) (field "stderr" string) (field "cut" bool)))
    (export "output" (type $output (eq $output-of)))
    (type $error-of (variant (case "no-name" string) (case "failed" string) (case "timed-out" string)))
    (export "error" (type $error (eq $error-of)))
    (type $usage-answer (result $space (error $error)))
    (type $usage-of (func (param "path" string) (result $usage-answer)))
    (export "usage" (func (type $usage-of)))
    (type $latency-answer (result u64 (error $error)))
    (type $latency-of (func (param "path" string) (result $latency-answer)))
    (export "read-latency" (func (type $latency-of)))
    (type $command-answer (result $output (error $error)))
    (type $command-of (func (param "command" string) (result $command-answer)))
    (export "command" (func (type $command-of)))))
  ;; What the host hands over is put one behind the other, and forgotten after the call.
  (core module $heap
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc")
      (param $old i32) (param $old-bytes i32) (param $align i32) (param $bytes i32) (result i32)
      (local $at i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $bytes)))
      (if (i32.gt_u (global.get $next) (i32.const 0x40000)) (then (unreachable)))
      (memory.copy (local.get $at) (local.get $old) (local.get $old-bytes))
      (local.get $at))
    (func (export "free") (param i32)
      (global.set $next (i32.const 1024))))
  (core instance $heap (instantiate $heap))
  (alias core export $heap "memory" (core memory $memory))
  (alias core export $heap "realloc" (core func $realloc))
  (alias core export $heap "free" (core func $free))

  (core module $main
    (import "heap" "memory" (memory 4))
    (import "host" "write" (func $write (param i32 i32 i32)))
    (import "host" "usage" (func $usage (param i32 i32 i32)))
    (import "host" "read-latency" (func $read-latency (param i32 i32 i32)))
    (import "host" "command" (func $command (param i32 i32 i32)))
    (data (i32.const 0) "storage")
    (data (i32.const 16) "heal")
    (data (i32.const 32) "slow")
    ;; At 64 what the host gives back, 40 bytes at most; at 128 the answer, three times 12 bytes.

    (func (export "check")
      (param $name i32) (param $name-bytes i32) (param $path i32) (param $path-bytes i32)
      (param $setting i32) (param $count i32) (result i32)
      (local $read-only i32) (local $kind i32) (local $kind-bytes i32)
      (call $write (i32.const 0) (local.get $path) (local.get $path-bytes))

      (call $usage (i32.const 0) (i32.const 7) (i32.const 64))
      (if (i32.load8_u offset=64 (i32.const 0))
        (then (call $found (i32.const 128) (i32.const 2)
          (i32.load offset=76 (i32.const 0)) (i32.load offset=80 (i32.const 0))))
        (else
          (local.set $read-only (i32.load8_u offset=88 (i32.const 0)))
          (local.set $kind (i32.load offset=92 (i32.const 0)))
          (local.set $kind-bytes (i32.load offset=96 (i32.const 0)))
          (call $found (i32.const 128) (i32.const 0) (i32.const 0) (i32.const 0))))

      (call $read-latency (i32.const 0) (i32.const 7) (i32.const 64))
      (if (i32.load8_u offset=64 (i32.const 0))
        (then (call $found (i32.const 140)
          ;; What was tried and failed is a no.
          (select (i32.const 1) (i32.const 2)
            (i32.eq (i32.load8_u offset=72 (i32.const 0)) (i32.const 1)))
          (i32.load offset=76 (i32.const 0)) (i32.load offset=80 (i32.const 0))))
        (else (if (local.get $read-only)
          (then (call $found (i32.const 140) (i32.const 1) (local.get $kind) (local.get $kind-bytes)))
          (else (call $found (i32.const 140)
            (i64.gt_u (i64.load offset=72 (i32.const 0)) (i64.const 1000000))
            (i32.const 32) (i32.const 4))))))

      (call $command (i32.const 16) (i32.const 4) (i32.const 64))
      (if (i32.load8_u offset=64 (i32.const 0))
        (then (call $found (i32.const 152) (i32.const 2)
          (i32.load offset=72 (i32.const 0)) (i32.load offset=76 (i32.const 0))))
        (else (if (i32.or
            (i32.load8_u offset=92 (i32.const 0))
            (i32.eqz (i32.load8_u offset=68 (i32.const 0))))
          (then (call $found (i32.const 152) (i32.const 2)
            (i32.load offset=84 (i32.const 0)) (i32.load offset=88 (i32.const 0))))
          (else (call $found (i32.const 152)
            (i32.ne (i32.load offset=72 (i32.const 0)) (i32.const 0))
            (i32.load offset=76 (i32.const 0)) (i32.load offset=80 (i32.const 0)))))))
      (i32.const 128))

    ;; Yes is 0, no is 1, unknown is 2.
    (func $found (param $at i32) (param $case i32) (param $words i32) (param $bytes i32)
      (i32.store8 (local.get $at) (local.get $case))
      (i32.store offset=4 (local.get $at) (local.get $words))
      (i32.store offset=8 (local.get $at) (local.get $bytes))))

  (alias export $log "write" (func $write))
  (core func $write (canon lower (func $write) (memory $memory) string-encoding=utf8))
  (alias export $probe "usage" (func $usage))
  (core func $usage (canon lower (func $usage) (memory $memory) (realloc $realloc) string-encoding=utf8))
  (alias export $probe "read-latency" (func $read-latency))
  (core func $read-latency
    (canon lower (func $read-latency) (memory $memory) (realloc $realloc) string-encoding=utf8))
  (alias export $probe "command" (func $command))
  (core func $command (canon lower (func $command) (memory $memory) (realloc $realloc) string-encoding=utf8))
  (core instance $host
    (export "write" (func $write))
    (export "usage" (func $usage))
    (export "read-latency" (func $read-latency))
    (export "command" (func $command)))
  (core instance $main (instantiate $main
    (with "heap" (instance $heap))
    (with "host" (instance $host))))
  (alias core export $main "check" (core func $check))

  (type $setting (record (field "name" string) (field "value" string)))
  (type $domain (record (field "name" string) (field "path" string) (field "settings" (list $setting))))
  (type $answer (variant (case "yes") (case "no" string) (case "unknown" string)))
  (type $findings (record (field "reachable" $answer) (field "usable" $answer) (field "synced" $answer)))
  (type $check-of (func (param "domain" $domain) (result $findings)))
  (func $check (type $check-of)
    (canon lift (core func $check)
      (memory $memory) (realloc $realloc) string-encoding=utf8 (post-return $free)))

  (component $check-interface
    (type $setting-of (record (field "name" string) (field "value" string)))
    (import "import-type-setting" (type $setting-in (eq $setting-of)))
    (type $domain-of (record
      (field "name" string) (field "path" string) (field "settings" (list $setting-in))))
    (import "import-type-domain" (type $domain-in (eq $domain-of)))
    (type $answer-of (variant (case "yes") (case "no" string) (case "unknown" string)))
    (import "import-type-answer" (type $answer-in (eq $answer-of)))
    (type $findings-of (record
      (field "reachable" $answer-in) (field "usable" $answer-in) (field "synced" $answer-in)))
    (import "import-type-findings" (type $findings-in (eq $findings-of)))
    (type $check-in (func (param "domain" $domain-in) (result $findings-in)))
    (import "import-func-check" (func $check (type $check-in)))
    (export $setting "setting" (type $setting-in))
    (type $domain-again (record
      (field "name" string) (field "path" string) (field "settings" (list $setting))))
    (export $domain "domain" (type $domain-again))
    (export $answer "answer" (type $answer-in))
    (type $findings-again (record
      (field "reachable" $answer) (field "usable" $answer) (field "synced" $answer)))
    (export $findings "findings" (type $findings-again))
    (type $check-out (func (param "domain" $domain) (result $findings)))
    (export "check" (func $check) (func (type $check-out))))
  (instance $check (instantiate $check-interface
    (with "import-type-setting" (type $setting))
    (with "import-type-domain" (type $domain))
    (with "import-type-answer" (type $answer))
    (with "import-type-findings" (type $findings))
    (with "import-func-check" (func $check))))
  (export "holdfast:storage-check/check@0.1.0" (instance $check)))
