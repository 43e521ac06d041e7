;; A fencing extension of 0.1.0, over HTTP: golden, never changed (README.md).
;;
;; Asks the target `board` at the path that is the device's first setting. GET: the body `on` or `off` is how the power
;; stands. POST of `off` or `on`: 202 has taken the order, after 304 it stood so, 409 refuses with the body for its
;; words. Who is told to switch off is written to the log.
(component
  (import "holdfast:host/log@0.1.0" (instance $log
    (type $level-of (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level-of)))
    (type $write-of (func (param "level" $level) (param "message" string)))
    (export "write" (func (type $write-of)))))
  (import "holdfast:host/http@0.1.0" (instance $http
    (type $method-of (enum "get" "post" "put" "patch" "delete"))
    (export "method" (type $method (eq $method-of)))
    (type $response-of (record (field "status" u16) (field "body" string)))
    (export "response" (type $response (eq $response-of)))
    (type $error-of (variant
      (case "no-target" string)
      (case "not-allowed" string)
      (case "too-many" string)
      (case "unreachable" string)
      (case "unanswered" string)))
    (export "error" (type $error (eq $error-of)))
    (type $body (option string))
    (type $answer (result $response (error $error)))
    (type $send-of (func
      (param "target" string) (param "method" $method) (param "path" string) (param "body" $body)
      (result $answer)))
    (export "send" (func (type $send-of)))))
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
    (import "host" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (data (i32.const 0) "board")
    (data (i32.const 16) "off")
    (data (i32.const 32) "on")
    (data (i32.const 48) "no path is set")
    ;; At 64 what `send` gives back, 16 bytes; at 96 the answer, 12 bytes.

    (func (export "off")
      (param $host i32) (param $host-bytes i32) (param $name i32) (param $name-bytes i32)
      (param $setting i32) (param $count i32) (result i32)
      (call $write (i32.const 2) (local.get $host) (local.get $host-bytes))
      (call $order (local.get $setting) (local.get $count) (i32.const 16) (i32.const 3)))

    (func (export "on")
      (param $host i32) (param $host-bytes i32) (param $name i32) (param $name-bytes i32)
      (param $setting i32) (param $count i32) (result i32)
      (call $order (local.get $setting) (local.get $count) (i32.const 32) (i32.const 2)))

    (func $order (param $setting i32) (param $count i32) (param $body i32) (param $bytes i32) (result i32)
      (local $status i32)
      (if (i32.eqz (local.get $count))
        (then (return (call $say (i32.const 2) (i32.const 48) (i32.const 14)))))
      (call $ask (local.get $setting) (i32.const 1) (i32.const 1) (local.get $body) (local.get $bytes))
      ;; No answer: refused if it was unreachable, for nothing was done then; else unknown.
      (if (i32.load8_u offset=64 (i32.const 0))
        (then (return (call $say
          (select (i32.const 2) (i32.const 3)
            (i32.eq (i32.load8_u offset=68 (i32.const 0)) (i32.const 3)))
          (i32.load offset=72 (i32.const 0))
          (i32.load offset=76 (i32.const 0))))))
      (local.set $status (i32.load16_u offset=68 (i32.const 0)))
      (if (i32.eq (local.get $status) (i32.const 202))
        (then (return (call $say (i32.const 0) (i32.const 0) (i32.const 0)))))
      (if (i32.eq (local.get $status) (i32.const 304))
        (then (return (call $say (i32.const 1) (i32.const 0) (i32.const 0)))))
      (call $say
        (select (i32.const 2) (i32.const 3) (i32.eq (local.get $status) (i32.const 409)))
        (i32.load offset=72 (i32.const 0))
        (i32.load offset=76 (i32.const 0))))

    (func (export "status")
      (param $host i32) (param $host-bytes i32) (param $name i32) (param $name-bytes i32)
      (param $setting i32) (param $count i32) (result i32)
      (local $body i32) (local $bytes i32)
      (if (i32.eqz (local.get $count))
        (then (return (call $say (i32.const 2) (i32.const 48) (i32.const 14)))))
      (call $ask (local.get $setting) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (local.set $body (i32.load offset=72 (i32.const 0)))
      (local.set $bytes (i32.load offset=76 (i32.const 0)))
      (if (i32.eqz (i32.load8_u offset=64 (i32.const 0)))
        (then
          ;; `on`
          (if (i32.eq (local.get $bytes) (i32.const 2))
            (then (if (i32.eq (i32.load16_u (local.get $body)) (i32.const 0x6e6f))
              (then (return (call $say (i32.const 0) (i32.const 0) (i32.const 0)))))))
          ;; `off`
          (if (i32.eq (local.get $bytes) (i32.const 3))
            (then (if (i32.eq (i32.and (i32.load (local.get $body)) (i32.const 0xffffff)) (i32.const 0x66666f))
              (then (return (call $say (i32.const 1) (i32.const 0) (i32.const 0)))))))))
      ;; The words of the board, or the host's.
      (call $say (i32.const 2) (local.get $body) (local.get $bytes)))

    (func $ask
      (param $setting i32) (param $method i32) (param $has-body i32) (param $body i32) (param $bytes i32)
      (call $send
        (i32.const 0) (i32.const 5)
        (local.get $method)
        (i32.load offset=8 (local.get $setting)) (i32.load offset=12 (local.get $setting))
        (local.get $has-body) (local.get $body) (local.get $bytes)
        (i32.const 64)))

    (func $say (param $case i32) (param $words i32) (param $bytes i32) (result i32)
      (i32.store8 offset=96 (i32.const 0) (local.get $case))
      (i32.store offset=100 (i32.const 0) (local.get $words))
      (i32.store offset=104 (i32.const 0) (local.get $bytes))
      (i32.const 96)))

  (alias export $log "write" (func $write))
  (core func $write (canon lower (func $write) (memory $memory) string-encoding=utf8))
  (alias export $http "send" (func $send))
  (core func $send (canon lower (func $send) (memory $memory) (realloc $realloc) string-encoding=utf8))
  (core instance $host
    (export "write" (func $write))
    (export "send" (func $send)))
  (core instance $main (instantiate $main
    (with "heap" (instance $heap))
    (with "host" (instance $host))))
  (alias core export $main "off" (core func $off))
  (alias core export $main "on" (core func $on))
  (alias core export $main "status" (core func $status))

  (type $setting (record (field "name" string) (field "value" string)))
  (type $device (record (field "host" string) (field "name" string) (field "settings" (list $setting))))
  (type $ordered (variant (case "accepted") (case "already") (case "refused" string) (case "unknown" string)))
  (type $power (variant (case "on") (case "off") (case "unknown" string)))
  (type $order-of (func (param "device" $device) (result $ordered)))
  (type $status-of (func (param "device" $device) (result $power)))
  (func $off (type $order-of)
    (canon lift (core func $off)
      (memory $memory) (realloc $realloc) string-encoding=utf8 (post-return $free)))
  (func $on (type $order-of)
    (canon lift (core func $on)
      (memory $memory) (realloc $realloc) string-encoding=utf8 (post-return $free)))
  (func $status (type $status-of)
    (canon lift (core func $status)
      (memory $memory) (realloc $realloc) string-encoding=utf8 (post-return $free)))

  (component $fence-of
    (type $setting-of (record (field "name" string) (field "value" string)))
    (import "import-type-setting" (type $setting-in (eq $setting-of)))
    (type $device-of (record
      (field "host" string) (field "name" string) (field "settings" (list $setting-in))))
    (import "import-type-device" (type $device-in (eq $device-of)))
    (type $ordered-of (variant
      (case "accepted") (case "already") (case "refused" string) (case "unknown" string)))
    (import "import-type-ordered" (type $ordered-in (eq $ordered-of)))
    (type $power-of (variant (case "on") (case "off") (case "unknown" string)))
    (import "import-type-power" (type $power-in (eq $power-of)))
    (type $order-in (func (param "device" $device-in) (result $ordered-in)))
    (type $status-in (func (param "device" $device-in) (result $power-in)))
    (import "import-func-off" (func $off (type $order-in)))
    (import "import-func-on" (func $on (type $order-in)))
    (import "import-func-status" (func $status (type $status-in)))
    (export $setting "setting" (type $setting-in))
    (type $device-again (record
      (field "host" string) (field "name" string) (field "settings" (list $setting))))
    (export $device "device" (type $device-again))
    (export $ordered "ordered" (type $ordered-in))
    (export $power "power" (type $power-in))
    (type $order-out (func (param "device" $device) (result $ordered)))
    (type $status-out (func (param "device" $device) (result $power)))
    (export "off" (func $off) (func (type $order-out)))
    (export "on" (func $on) (func (type $order-out)))
    (export "status" (func $status) (func (type $status-out))))
  (instance $fence (instantiate $fence-of
    (with "import-type-setting" (type $setting))
    (with "import-type-device" (type $device))
    (with "import-type-ordered" (type $ordered))
    (with "import-type-power" (type $power))
    (with "import-func-off" (func $off))
    (with "import-func-on" (func $on))
    (with "import-func-status" (func $status))))
  (export "holdfast:fencing/fence@0.1.0" (instance $fence)))
