/* Lets a machine with the label `needs` only go to hosts that have what is named there: keys of labels, or
 * `key=value`, separated by commas: `needs` = `gpu,disk=nvme`.
 *
 * It imports nothing at all. */
#include <stdlib.h>
#include <string.h>

#include "extension.h"

typedef extension_string_t text;
typedef holdfast_placement_types_list_label_t labels;
typedef exports_holdfast_placement_filter_verdict_t verdict;

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

/* "no label `NEED`" */
static verdict may_not(text need) {
  static const char before[] = "no label `", after[] = "`";
  size_t head = sizeof before - 1, tail = sizeof after - 1;
  text why = {malloc(head + need.len + tail), head + need.len + tail};
  if (!why.ptr) abort();
  memcpy(why.ptr, before, head);
  memcpy(why.ptr + head, need.ptr, need.len);
  memcpy(why.ptr + head + need.len, after, tail);
  return (verdict){HOLDFAST_PLACEMENT_TYPES_VERDICT_MAY_NOT, {why}};
}

static verdict judge(const text *needs, labels host) {
  if (needs) {
    text rest = *needs;
    while (rest.len > 0) {
      text need = cut(&rest, ',');
      if (need.len > 0 && !has(host, need)) return may_not(need);
    }
  }
  return (verdict){HOLDFAST_PLACEMENT_TYPES_VERDICT_MAY, {{0}}};
}

/* One verdict for each candidate, in their order. */
bool exports_holdfast_placement_filter_filter(
    exports_holdfast_placement_filter_vm_t *vm,
    exports_holdfast_placement_filter_list_candidate_t *candidates,
    exports_holdfast_placement_filter_list_verdict_t *verdicts, text *error) {
  (void)error; /* Never: there is always an answer. */
  const text *needs = find(vm->labels, (text){(uint8_t *)"needs", 5});
  verdicts->len = candidates->len;
  verdicts->ptr = malloc(candidates->len * sizeof(verdict));
  if (!verdicts->ptr && candidates->len > 0) abort();
  for (size_t i = 0; i < candidates->len; i++) {
    verdicts->ptr[i] = judge(needs, candidates->ptr[i].labels);
  }
  /* What is handed in belongs to the one who was called. */
  exports_holdfast_placement_filter_vm_free(vm);
  exports_holdfast_placement_filter_list_candidate_free(candidates);
  return true;
}
