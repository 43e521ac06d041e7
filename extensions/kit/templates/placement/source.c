/* Lets a machine go only to hosts that have the label which its label `needs` names, and prefers emptier hosts.
 *
 * `extension.h` and `extension.c` are made from `wit/` when the extension is built. */
#include <stdlib.h>
#include <string.h>

#include "extension.h"

typedef extension_string_t text;
typedef holdfast_placement_types_refusal_t refusal;

/* All that may be kept from one question to the next. */
static exports_holdfast_placement_rule_list_known_host_t known;

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

/* The hosts that questions are about from now on. What can be worked out of their labels is worked out here. */
void exports_holdfast_placement_rule_prepare(
    exports_holdfast_placement_rule_list_known_host_t *hosts) {
  exports_holdfast_placement_rule_list_known_host_free(&known);
  known = *hosts;
}

/* Which candidates may not, by their positions, and a number from 0 to 100 for each of them: the higher, the rather.
 * To say that no answer is possible, set `error` and return false. */
bool exports_holdfast_placement_rule_judge(
    exports_holdfast_placement_rule_vm_t *vm,
    exports_holdfast_placement_rule_candidates_t *candidates,
    exports_holdfast_placement_rule_judgement_t *judgement, text *error) {
  (void)error;
  size_t count = candidates->hosts.len;
  const text *needed = find(vm->labels, (text){(uint8_t *)"needs", 5});
  /* What is handed back is on the heap: it is freed after the call. */
  refusal *refused = take(count * sizeof *refused);
  double *scores = take(count * sizeof *scores);
  size_t refusals = 0;
  for (size_t i = 0; i < count; i++) {
    if (needed && !find(known.ptr[candidates->hosts.ptr[i]].labels, *needed)) {
      refusal *own = &refused[refusals++];
      own->candidate = i;
      extension_string_dup(&own->why, "it does not have the label that is needed");
    }
    uint32_t vms = candidates->vms.ptr[i];
    scores[i] = 100.0 - (vms < 100 ? vms : 100);
  }
  if (refusals == 0) free(refused);
  judgement->refused.ptr = refused;
  judgement->refused.len = refusals;
  judgement->scores.ptr = scores;
  judgement->scores.len = count;
  /* What is handed in belongs to the one who was called. */
  exports_holdfast_placement_rule_vm_free(vm);
  exports_holdfast_placement_rule_candidates_free(candidates);
  return true;
}
