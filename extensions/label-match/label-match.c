/* Lets a machine with the label `needs` only go to hosts that have what is named there: keys of labels, or
 * `key=value`, separated by commas: `needs` = `gpu,disk=nvme`.
 *
 * It imports nothing at all. */
#include <stdlib.h>
#include <string.h>

#include "extension.h"

typedef extension_string_t text;
typedef holdfast_placement_types_list_label_t labels;
typedef holdfast_placement_types_refusal_t refusal;

/* What was told of the hosts: it is ours until others are told. */
static exports_holdfast_placement_rule_list_known_host_t known;

static bool same(text a, text b) {
  return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* The value of a label, or null. */
static const text *find(labels all, text key) {
  for (size_t i = 0; i < all.len; i++) {
    if (same(all.ptr[i].key, key)) return &all.ptr[i].value;
  }
  return NULL;
}

/* What comes before the separator, without spaces around it; `rest` is left with what comes after. */
static text cut(text *rest, uint8_t separator) {
  text part = {rest->ptr, 0};
  while (part.len < rest->len && part.ptr[part.len] != separator) part.len++;
  size_t used = part.len < rest->len ? part.len + 1 : part.len;
  *rest = (text){rest->ptr + used, rest->len - used};
  while (part.len > 0 && part.ptr[0] == ' ') part = (text){part.ptr + 1, part.len - 1};
  while (part.len > 0 && part.ptr[part.len - 1] == ' ') part.len--;
  return part;
}

static bool has(labels host, text need) {
  text value = need;
  text key = cut(&value, '=');
  const text *there = find(host, key);
  /* Nothing is left after a key without a value: any value will do. */
  return there && (value.len == 0 || same(*there, value));
}

static void *take(size_t bytes) {
  void *memory = malloc(bytes);
  if (!memory && bytes > 0) abort();
  return memory;
}

/* "no label `NEED`" */
static text why_not(text need) {
  static const char before[] = "no label `", after[] = "`";
  size_t head = sizeof before - 1, tail = sizeof after - 1;
  text why = {take(head + need.len + tail), head + need.len + tail};
  memcpy(why.ptr, before, head);
  memcpy(why.ptr + head, need.ptr, need.len);
  memcpy(why.ptr + head + need.len, after, tail);
  return why;
}

/* The first of the needs that the host does not have; empty if it has them all. */
static text missing(text needs, labels host) {
  while (needs.len > 0) {
    text need = cut(&needs, ',');
    if (need.len > 0 && !has(host, need)) return need;
  }
  return (text){0};
}

void exports_holdfast_placement_rule_prepare(
    exports_holdfast_placement_rule_list_known_host_t *hosts) {
  exports_holdfast_placement_rule_list_known_host_free(&known);
  known = *hosts;
}

/* Names those that may not. There is always an answer: `error` is never set. */
bool exports_holdfast_placement_rule_judge(
    exports_holdfast_placement_rule_vm_t *vm,
    exports_holdfast_placement_rule_candidates_t *candidates,
    exports_holdfast_placement_rule_judgement_t *judgement, text *error) {
  (void)error;
  *judgement = (exports_holdfast_placement_rule_judgement_t){0};
  const text *needs = find(vm->labels, (text){(uint8_t *)"needs", 5});
  if (needs) {
    refusal *refused = take(candidates->hosts.len * sizeof *refused);
    size_t count = 0;
    for (size_t i = 0; i < candidates->hosts.len; i++) {
      text need = missing(*needs, known.ptr[candidates->hosts.ptr[i]].labels);
      if (need.len > 0) refused[count++] = (refusal){i, why_not(need)};
    }
    judgement->refused.ptr = refused;
    judgement->refused.len = count;
    if (count == 0) free(refused);
  }
  /* What is handed in belongs to the one who was called. */
  exports_holdfast_placement_rule_vm_free(vm);
  exports_holdfast_placement_rule_candidates_free(candidates);
  return true;
}
