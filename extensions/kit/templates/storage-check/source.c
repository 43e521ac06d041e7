/* Says whether a storage is there, has room and answers soon.
 *
 * Setting of a storage: `path`, the granted name of its path (if that is not the storage's own name).
 * `extension.h` and `extension.c` are made from `wit/` when the extension is built. */
#include <string.h>

#include "extension.h"

typedef extension_string_t text;
typedef exports_holdfast_storage_check_check_answer_t answer;
typedef exports_holdfast_storage_check_check_domain_t domain;

/* Slower than this it is not usable. */
#define SLOW_US 1000000u
/* Fuller than this it is not usable. */
#define LEAST_FREE_BYTES (1ull << 30)

static text setting(const domain *from, const char *name, text otherwise) {
  for (size_t i = 0; i < from->settings.len; i++) {
    text own = from->settings.ptr[i].name;
    if (own.len == strlen(name) && memcmp(own.ptr, name, own.len) == 0) return from->settings.ptr[i].value;
  }
  return otherwise;
}

static answer yes(void) {
  return (answer){EXPORTS_HOLDFAST_STORAGE_CHECK_CHECK_ANSWER_YES, {{0}}};
}

static answer no(const char *why) {
  answer given = {EXPORTS_HOLDFAST_STORAGE_CHECK_CHECK_ANSWER_NO, {{0}}};
  extension_string_dup(&given.val.no, why);
  return given;
}

static answer unknown(const char *why) {
  answer given = {EXPORTS_HOLDFAST_STORAGE_CHECK_CHECK_ANSWER_UNKNOWN, {{0}}};
  extension_string_dup(&given.val.unknown, why);
  return given;
}

/* Only what was tried and failed is a no: of no such name, and of no answer, nothing was learned. */
static answer failed(const holdfast_host_probe_error_t *error) {
  bool tried = error->tag == HOLDFAST_HOST_PROBE_ERROR_FAILED;
  return tried ? no("it could not be looked at") : unknown("there is no such path, or no answer");
}

static answer usable(text *path, const holdfast_host_probe_space_t *space) {
  if (space->read_only) return no("it is read-only");
  if (space->free_bytes < LEAST_FREE_BYTES) return no("it is full");
  uint64_t latency_us;
  holdfast_host_probe_error_t error;
  if (!holdfast_host_probe_read_latency(path, &latency_us, &error)) {
    answer given = failed(&error);
    holdfast_host_probe_error_free(&error);
    return given;
  }
  return latency_us > SLOW_US ? no("it answers too slowly") : yes();
}

void exports_holdfast_storage_check_check_check(
    domain *about, exports_holdfast_storage_check_check_findings_t *ret) {
  text path = setting(about, "path", about->name);
  holdfast_host_probe_space_t space;
  holdfast_host_probe_error_t error;
  if (holdfast_host_probe_usage(&path, &space, &error)) {
    ret->reachable = yes();
    ret->usable = usable(&path, &space);
    holdfast_host_probe_space_free(&space);
  } else {
    ret->reachable = failed(&error);
    ret->usable = failed(&error);
    holdfast_host_probe_error_free(&error);
  }
  /* Say yes only of what was looked at: VMs return to a site on this word. */
  ret->synced = unknown("not looked at");
  exports_holdfast_storage_check_check_domain_free(about);
}
