/* Switches hosts off by their management boards, over Redfish.
 *
 * A device binds `bmc` to its board. Settings: `system` (if it is not `1`).
 * `extension.h` and `extension.c` are made from `wit/` when the extension is built. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extension.h"

typedef extension_string_t text;
typedef exports_holdfast_fencing_fence_device_t device;
typedef exports_holdfast_fencing_fence_ordered_t ordered;
typedef exports_holdfast_fencing_fence_power_t power;

/* Longest path: a system's name that is longer is cut, and the board will not know it. */
enum { PATH_MAX = 512 };

static text setting(const device *from, const char *name, text otherwise) {
  for (size_t i = 0; i < from->settings.len; i++) {
    text own = from->settings.ptr[i].name;
    if (own.len == strlen(name) && memcmp(own.ptr, name, own.len) == 0) return from->settings.ptr[i].value;
  }
  return otherwise;
}

/* Instead of a status: nobody knows what became of the request; and: it was certainly not sent. */
enum { UNANSWERED = 0, UNSENT = -1 };

/* Sends a request; the status, or one of these. `body` is on the heap. */
static int ask(const device *about, uint8_t method, const char *action, const char *json, text *body) {
  char path[PATH_MAX];
  text system = setting(about, "system", (text){(uint8_t *)"1", 1});
  snprintf(path, sizeof path, "/redfish/v1/Systems/%.*s%s", (int)system.len, (const char *)system.ptr, action);
  /* As [rights.http] in extension.toml calls it. */
  text target = {(uint8_t *)"bmc", 3}, where, what;
  extension_string_set(&where, path);
  if (json) extension_string_set(&what, json);
  holdfast_host_http_response_t answer;
  holdfast_host_http_error_t error;
  if (!holdfast_host_http_send(&target, method, &where, json ? &what : NULL, &answer, &error)) {
    int ended = error.tag == HOLDFAST_HOST_HTTP_ERROR_UNANSWERED ? UNANSWERED : UNSENT;
    holdfast_host_http_error_free(&error);
    return ended;
  }
  *body = answer.body;
  return answer.status;
}

static void reset(device *about, const char *json, ordered *ret) {
  text body = {NULL, 0};
  int status =
      ask(about, HOLDFAST_HOST_HTTP_METHOD_POST, "/Actions/ComputerSystem.Reset", json, &body);
  if (status >= 200 && status <= 299) {
    ret->tag = EXPORTS_HOLDFAST_FENCING_FENCE_ORDERED_ACCEPTED;
  } else if (status == UNSENT || (status >= 400 && status <= 499)) {
    ret->tag = EXPORTS_HOLDFAST_FENCING_FENCE_ORDERED_REFUSED;
    const char *why = status == UNSENT ? "the board was not asked" : "the board will not";
    extension_string_dup(&ret->val.refused, why);
  } else {
    ret->tag = EXPORTS_HOLDFAST_FENCING_FENCE_ORDERED_UNKNOWN;
    extension_string_dup(&ret->val.unknown, "no clear answer of the board");
  }
  extension_string_free(&body);
  exports_holdfast_fencing_fence_device_free(about);
}

void exports_holdfast_fencing_fence_off(device *about, ordered *ret) {
  reset(about, "{\"ResetType\":\"ForceOff\"}", ret);
}

void exports_holdfast_fencing_fence_on(device *about, ordered *ret) {
  reset(about, "{\"ResetType\":\"On\"}", ret);
}

static const char space[] = " \t\r\n";

/* What comes behind a text in quotation marks; null if that does not end. */
static const char *behind(const char *text) {
  for (text++; *text && *text != '"'; text++) {
    if (*text == '\\' && text[1]) text++;
  }
  return *text ? text + 1 : NULL;
}

/* Whether this text in quotation marks is that word. */
static bool is(const char *text, const char *word) {
  size_t length = strlen(word);
  return text[0] == '"' && strncmp(text + 1, word, length) == 0 && text[1 + length] == '"';
}

/* The value of a key of the outermost object, or null: what is inside of it may have the same key. It is no JSON
 * parser: add one if more is read. */
static const char *value_of(const char *json, const char *key) {
  int depth = 0;
  for (const char *at = json; at && *at;) {
    if (*at == '{' || *at == '[') depth++;
    if (*at == '}' || *at == ']') depth--;
    if (*at != '"') {
      at++;
      continue;
    }
    const char *next = behind(at);
    const char *colon = next ? next + strspn(next, space) : NULL;
    if (depth == 1 && colon && *colon == ':' && is(at, key)) return colon + 1 + strspn(colon + 1, space);
    at = next;
  }
  return NULL;
}

void exports_holdfast_fencing_fence_status(device *about, power *ret) {
  text body = {NULL, 0};
  int status = ask(about, HOLDFAST_HOST_HTTP_METHOD_GET, "", NULL, &body);
  /* Ends with a null byte, which an answer does not. */
  char *words = calloc(body.len + 1, 1);
  if (!words) abort();
  if (body.len > 0) memcpy(words, body.ptr, body.len);
  const char *state = status == 200 ? value_of(words, "PowerState") : NULL;
  /* Only these very words: whatever else a board says is not known to be off. */
  if (state && is(state, "On")) {
    ret->tag = EXPORTS_HOLDFAST_FENCING_FENCE_POWER_ON;
  } else if (state && is(state, "Off")) {
    ret->tag = EXPORTS_HOLDFAST_FENCING_FENCE_POWER_OFF;
  } else {
    ret->tag = EXPORTS_HOLDFAST_FENCING_FENCE_POWER_UNKNOWN;
    extension_string_dup(&ret->val.unknown, "no clear answer of the board");
  }
  free(words);
  extension_string_free(&body);
  exports_holdfast_fencing_fence_device_free(about);
}
