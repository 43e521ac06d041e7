;; A placement extension of 0.2.0: golden, never changed (README.md).
;;
;; A host with the label `no-go` may not, and why is the label's value; nor may one on which a peer is, and why is the
;; peer's name. The score is the share of memory that is free, in percent, less one for each machine there, and not
;; below 0; for a live migration half of that. Without candidates there is no answer. Which machine it is about is
;; written to the log. What `prepare` tells it keeps until it is told anew.
(component
  (import "holdfast:host/log@0.1.0" (instance $log
    (type $level-of (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level-of)))
    (type $write-of (func (param "level" $level) (param "message" string)))
    (export "write" (func (type $write-of)))))
  (import "holdfast:placement/types@0.2.0" (instance $types
    (type $label-of (record (field "key" string) (field "value" string)))
    (export "label" (type $label (eq $label-of)))
    (type $labels (list $label))
    (type $host-of (record (field "name" string) (field "site" string) (field "labels" $labels)))
    (export "known-host" (type (eq $host-of)))
    (type $purpose-of (enum "start" "migration"))
    (export "purpose" (type $purpose (eq $purpose-of)))
    (type $peer-of (record (field "name" string) (field "host" u32)))
    (export "peer" (type $peer (eq $peer-of)))
    (type $peers (list $peer))
    (type $maybe (option string))
    (type $vm-of (record
      (field "name" string)
      (field "memory-mib" u64)
      (field "vcpus" u32)
      (field "priority" s32)
      (field "preferred-site" $maybe)
      (field "group" $maybe)
      (field "labels" $labels)
      (field "peers" $peers)
      (field "last-host" $maybe)
      (field "purpose" $purpose)))
    (export "vm" (type (eq $vm-of)))
    (type $column (list u32))
    (type $wide-column (list u64))
    (type $candidates-of (record
      (field "hosts" $column)
      (field "memory-mib" $wide-column)
      (field "memory-free-mib" $wide-column)
      (field "vcpus" $column)
      (field "vcpus-used" $column)
      (field "vms" $column)))
    (export "candidates" (type (eq $candidates-of)))
    (type $refusal-of (record (field "candidate" u32) (field "why" string)))
    (export "refusal" (type $refusal (eq $refusal-of)))
    (type $refusals (list $refusal))
    (type $scores (list f64))
    (type $judgement-of (record (field "refused" $refusals) (field "scores" $scores)))
    (export "judgement" (type (eq $judgement-of)))))
  ;; What the host hands over is put one behind the other, and forgotten after the call.
  (core module $heap
    (memory (export "memory") 8)
    (global $next (mut i32) (i32.const 0x20000))
    (func (export "realloc")
      (param $old i32) (param $old-bytes i32) (param $align i32) (param $bytes i32) (result i32)
      (local $at i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $bytes)))
      (if (i32.gt_u (global.get $next) (i32.const 0x80000)) (then (unreachable)))
      (memory.copy (local.get $at) (local.get $old) (local.get $old-bytes))
      (local.get $at))
    (func (export "forget")
      (global.set $next (i32.const 0x20000)))
    (func (export "free") (param i32)
      (global.set $next (i32.const 0x20000))))
  (core instance $heap (instantiate $heap))
  (alias core export $heap "memory" (core memory $memory))
  (alias core export $heap "realloc" (core func $realloc))
  (alias core export $heap "forget" (core func $forget))
  (alias core export $heap "free" (core func $free))

  (core module $main
    (import "heap" "memory" (memory 8))
    (import "heap" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32)))
    (data (i32.const 0) "there is no candidate")
    ;; At 96 the answer, 20 bytes. From 0x1000 on what is kept of the hosts, 8 bytes each: where the words of its label
    ;; are, or 0, and how many bytes. From 0x8000 on those words.

    (func (export "prepare") (param $host i32) (param $left i32)
      (local $kept i32) (local $words i32) (local $label i32) (local $labels i32)
      (local.set $kept (i32.const 0x1000))
      (local.set $words (i32.const 0x8000))
      (block $told (loop $next
        (br_if $told (i32.eqz (local.get $left)))
        (i32.store (local.get $kept) (i32.const 0))
        (local.set $label (i32.load offset=16 (local.get $host)))
        (local.set $labels (i32.load offset=20 (local.get $host)))
        (block $seen (loop $look
          (br_if $seen (i32.eqz (local.get $labels)))
          (if (call $is-no-go (i32.load (local.get $label)) (i32.load offset=4 (local.get $label)))
            (then
              (i32.store (local.get $kept) (local.get $words))
              (i32.store offset=4 (local.get $kept) (i32.load offset=12 (local.get $label)))
              (memory.copy
                (local.get $words) (i32.load offset=8 (local.get $label)) (i32.load offset=12 (local.get $label)))
              (local.set $words (i32.add (local.get $words) (i32.load offset=12 (local.get $label))))))
          (local.set $label (i32.add (local.get $label) (i32.const 16)))
          (local.set $labels (i32.sub (local.get $labels) (i32.const 1)))
          (br $look)))
        (local.set $host (i32.add (local.get $host) (i32.const 24)))
        (local.set $kept (i32.add (local.get $kept) (i32.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next))))

    (func $is-no-go (param $key i32) (param $bytes i32) (result i32)
      (if (i32.ne (local.get $bytes) (i32.const 5)) (then (return (i32.const 0))))
      (i32.and
        (i32.eq (i32.load align=1 (local.get $key)) (i32.const 0x672d6f6e))
        (i32.eq (i32.load8_u offset=4 (local.get $key)) (i32.const 0x6f))))

    ;; What is asked is in memory: the machine, 80 bytes, and behind it the candidates, 48.
    (func (export "judge") (param $asked i32) (result i32)
      (local $count i32) (local $at i32) (local $refused i32) (local $refusal i32) (local $scores i32)
      (local $why i32) (local $score f64)
      (call $write (i32.const 1)
        (i32.load (local.get $asked)) (i32.load offset=4 (local.get $asked)))
      (local.set $count (i32.load offset=84 (local.get $asked)))
      (if (i32.eqz (local.get $count)) (then (return (call $none))))
      (local.set $refused
        (call $realloc (i32.const 0) (i32.const 0) (i32.const 4)
          (i32.mul (local.get $count) (i32.const 12))))
      (local.set $refusal (local.get $refused))
      (local.set $scores
        (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)
          (i32.mul (local.get $count) (i32.const 8))))
      (loop $next
        (local.set $why
          (call $why
            (i32.load (call $in (i32.load offset=80 (local.get $asked)) (local.get $at) (i32.const 4)))
            (i32.load offset=56 (local.get $asked))
            (i32.load offset=60 (local.get $asked))))
        (if (local.get $why)
          (then
            (i32.store (local.get $refusal) (local.get $at))
            (i32.store offset=4 (local.get $refusal) (i32.load (local.get $why)))
            (i32.store offset=8 (local.get $refusal) (i32.load offset=4 (local.get $why)))
            (local.set $refusal (i32.add (local.get $refusal) (i32.const 12)))))
        (local.set $score
          (f64.max (f64.const 0)
            (f64.sub
              (f64.div
                (f64.mul (f64.const 100) (f64.convert_i64_u (i64.load
                  (call $in (i32.load offset=96 (local.get $asked)) (local.get $at) (i32.const 8)))))
                (f64.convert_i64_u (i64.load
                  (call $in (i32.load offset=88 (local.get $asked)) (local.get $at) (i32.const 8)))))
              (f64.convert_i32_u (i32.load
                (call $in (i32.load offset=120 (local.get $asked)) (local.get $at) (i32.const 4)))))))
        (if (i32.load8_u offset=76 (local.get $asked))
          (then (local.set $score (f64.div (local.get $score) (f64.const 2)))))
        (f64.store (call $in (local.get $scores) (local.get $at) (i32.const 8)) (local.get $score))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $at) (local.get $count))))
      (i32.store8 offset=96 (i32.const 0) (i32.const 0))
      (i32.store offset=100 (i32.const 0) (local.get $refused))
      (i32.store offset=104 (i32.const 0)
        (i32.div_u (i32.sub (local.get $refusal) (local.get $refused)) (i32.const 12)))
      (i32.store offset=108 (i32.const 0) (local.get $scores))
      (i32.store offset=112 (i32.const 0) (local.get $count))
      (i32.const 96))

    ;; Where in a list something is.
    (func $in (param $list i32) (param $at i32) (param $bytes i32) (result i32)
      (i32.add (local.get $list) (i32.mul (local.get $at) (local.get $bytes))))

    ;; Where it stands why a host may not, as a text: in its label, or in a peer, whose name comes first in it. 0: it may.
    (func $why (param $host i32) (param $peer i32) (param $peers i32) (result i32)
      (local $kept i32)
      (local.set $kept (call $in (i32.const 0x1000) (local.get $host) (i32.const 8)))
      (if (i32.load (local.get $kept)) (then (return (local.get $kept))))
      (block $seen (loop $look
        (br_if $seen (i32.eqz (local.get $peers)))
        (if (i32.eq (i32.load offset=8 (local.get $peer)) (local.get $host))
          (then (return (local.get $peer))))
        (local.set $peer (i32.add (local.get $peer) (i32.const 12)))
        (local.set $peers (i32.sub (local.get $peers) (i32.const 1)))
        (br $look)))
      (i32.const 0))

    (func $none (result i32)
      (i32.store8 offset=96 (i32.const 0) (i32.const 1))
      (i32.store offset=100 (i32.const 0) (i32.const 0))
      (i32.store offset=104 (i32.const 0) (i32.const 21))
      (i32.const 96)))

  (alias export $log "write" (func $write))
  (core func $write (canon lower (func $write) (memory $memory) string-encoding=utf8))
  (core instance $host (export "write" (func $write)))
  (core instance $main (instantiate $main
    (with "heap" (instance $heap))
    (with "host" (instance $host))))
  (alias core export $main "prepare" (core func $prepare))
  (alias core export $main "judge" (core func $judge))

  (alias export $types "label" (type $label))
  (alias export $types "known-host" (type $host))
  (alias export $types "purpose" (type $purpose))
  (alias export $types "peer" (type $peer))
  (alias export $types "vm" (type $vm))
  (alias export $types "candidates" (type $candidates))
  (alias export $types "refusal" (type $refusal))
  (alias export $types "judgement" (type $judgement))
  (type $prepare-of (func (param "hosts" (list $host))))
  (func $prepare (type $prepare-of)
    (canon lift (core func $prepare)
      (memory $memory) (realloc $realloc) string-encoding=utf8 (post-return $forget)))
  (type $judge-of (func
    (param "vm" $vm) (param "candidates" $candidates)
    (result (result $judgement (error string)))))
  (func $judge (type $judge-of)
    (canon lift (core func $judge)
      (memory $memory) (realloc $realloc) string-encoding=utf8 (post-return $free)))

  (component $rule-interface
    (type $label-of (record (field "key" string) (field "value" string)))
    (import "import-type-label" (type $label (eq $label-of)))
    (type $host-of (record (field "name" string) (field "site" string) (field "labels" (list $label))))
    (import "import-type-known-host" (type $host-in (eq $host-of)))
    (type $purpose-of (enum "start" "migration"))
    (import "import-type-purpose" (type $purpose (eq $purpose-of)))
    (type $peer-of (record (field "name" string) (field "host" u32)))
    (import "import-type-peer" (type $peer (eq $peer-of)))
    (type $vm-of (record
      (field "name" string)
      (field "memory-mib" u64)
      (field "vcpus" u32)
      (field "priority" s32)
      (field "preferred-site" (option string))
      (field "group" (option string))
      (field "labels" (list $label))
      (field "peers" (list $peer))
      (field "last-host" (option string))
      (field "purpose" $purpose)))
    (import "import-type-vm" (type $vm-in (eq $vm-of)))
    (type $candidates-of (record
      (field "hosts" (list u32))
      (field "memory-mib" (list u64))
      (field "memory-free-mib" (list u64))
      (field "vcpus" (list u32))
      (field "vcpus-used" (list u32))
      (field "vms" (list u32))))
    (import "import-type-candidates" (type $candidates-in (eq $candidates-of)))
    (type $refusal-of (record (field "candidate" u32) (field "why" string)))
    (import "import-type-refusal" (type $refusal (eq $refusal-of)))
    (type $judgement-of (record (field "refused" (list $refusal)) (field "scores" (list f64))))
    (import "import-type-judgement" (type $judgement-in (eq $judgement-of)))
    (type $prepare-in (func (param "hosts" (list $host-in))))
    (import "import-func-prepare" (func $prepare (type $prepare-in)))
    (type $judge-in (func
      (param "vm" $vm-in) (param "candidates" $candidates-in)
      (result (result $judgement-in (error string)))))
    (import "import-func-judge" (func $judge (type $judge-in)))
    (export $host "known-host" (type $host-in))
    (export $vm "vm" (type $vm-in))
    (export $candidates "candidates" (type $candidates-in))
    (export $judgement "judgement" (type $judgement-in))
    (type $prepare-out (func (param "hosts" (list $host))))
    (export "prepare" (func $prepare) (func (type $prepare-out)))
    (type $judge-out (func
      (param "vm" $vm) (param "candidates" $candidates)
      (result (result $judgement (error string)))))
    (export "judge" (func $judge) (func (type $judge-out))))
  (instance $rule (instantiate $rule-interface
    (with "import-type-label" (type $label))
    (with "import-type-known-host" (type $host))
    (with "import-type-purpose" (type $purpose))
    (with "import-type-peer" (type $peer))
    (with "import-type-vm" (type $vm))
    (with "import-type-candidates" (type $candidates))
    (with "import-type-refusal" (type $refusal))
    (with "import-type-judgement" (type $judgement))
    (with "import-func-prepare" (func $prepare))
    (with "import-func-judge" (func $judge))))
  (export "holdfast:placement/rule@0.2.0" (instance $rule)))
