/* Lets a machine go only to hosts that have the label which its label `needs` names, and prefers emptier hosts.
 *
 * `extension.h` and `extension.c` are made from `wit/` when the extension is built. */
#include <stdlib.h>
#include <string.h>

#include "extension.h"

typedef extension_string_t text;
typedef exports_holdfast_placement_filter_verdict_t verdict;

static const text *find(holdfast_placement_types_list_label_t labels, text key) {
  for (size_t i = 0; i < labels.len; i++) {
    text own = labels.ptr[i].key;
    if (own.len == key.len && memcmp(own.ptr, key.ptr, key.len) == 0) return &labels.ptr[i].value;
  }
  return NULL;
}

static void *take(size_t bytes) {
  void *memory = malloc(bytes);
  if (!memory && bytes > 0) abort();
  return memory;
}

static verdict judge(const text *needed, holdfast_placement_types_list_label_t host) {
  verdict answer = {HOLDFAST_PLACEMENT_TYPES_VERDICT_MAY, {{0}}};
  if (needed && !find(host, *needed)) {
    answer.tag = HOLDFAST_PLACEMENT_TYPES_VERDICT_MAY_NOT;
    /* What is handed back is on the heap: it is freed after the call. */
    extension_string_dup(&answer.val.may_not, "it does not have the label that is needed");
  }
  return answer;
}

/* One verdict for each candidate, in their order. To say that no answer is possible, set `error` and return
 * false. */
bool exports_holdfast_placement_filter_filter(
    exports_holdfast_placement_filter_vm_t *vm,
    exports_holdfast_placement_filter_list_candidate_t *candidates,
    exports_holdfast_placement_filter_list_verdict_t *verdicts, text *error) {
  (void)error;
  const text *needed = find(vm->labels, (text){(uint8_t *)"needs", 5});
  verdicts->len = candidates->len;
  verdicts->ptr = take(candidates->len * sizeof(verdict));
  for (size_t i = 0; i < candidates->len; i++) {
    verdicts->ptr[i] = judge(needed, candidates->ptr[i].labels);
  }
  /* What is handed in belongs to the one who was called. */
  exports_holdfast_placement_filter_vm_free(vm);
  exports_holdfast_placement_filter_list_candidate_free(candidates);
  return true;
}

/* From 0 to 100 for each candidate, in their order: the higher, the rather. */
bool exports_holdfast_placement_score_score(
    exports_holdfast_placement_score_vm_t *vm,
    exports_holdfast_placement_score_list_candidate_t *candidates, extension_list_f64_t *scores,
    text *error) {
  (void)error;
  scores->len = candidates->len;
  scores->ptr = take(candidates->len * sizeof(double));
  for (size_t i = 0; i < candidates->len; i++) {
    uint32_t vms = candidates->ptr[i].vms;
    scores->ptr[i] = 100.0 - (vms < 100 ? vms : 100);
  }
  exports_holdfast_placement_score_vm_free(vm);
  exports_holdfast_placement_score_list_candidate_free(candidates);
  return true;
}
