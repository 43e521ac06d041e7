/* Tells a webhook when hosts are fenced.
 *
 * `extension.h` and `extension.c` are made from `wit/` when the extension is built. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "extension.h"

typedef extension_string_t text;

static bool is(text own, const char *word) {
  return own.len == strlen(word) && memcmp(own.ptr, word, own.len) == 0;
}

typedef exports_holdfast_events_handler_list_event_t events_t;

/* Pass over kinds that are not known: there will be more. */
static bool is_told(const exports_holdfast_events_handler_event_t *event) {
  return is(event->kind, "host-fenced");
}

static char *quoted(char *end, text words) {
  for (size_t i = 0; i < words.len; i++) {
    uint8_t byte = words.ptr[i];
    bool special = byte < 0x20 || byte == '"' || byte == '\\';
    end += sprintf(end, special ? "\\u%04x" : "%c", byte);
  }
  return end;
}

/* All of them in one message, {"text":"…\n…"}, on the heap: a site's loss has hundreds, and a call may send few
 * requests. Empty if there is nothing to tell. */
static text message(const events_t *events) {
  static const char before[] = "{\"text\":\"", between[] = "\\n", after[] = "\"}";
  size_t most = sizeof before + sizeof after, told = 0;
  /* The worst that becomes of a byte is \u00XX. */
  for (size_t i = 0; i < events->len; i++) most += sizeof between + 6 * events->ptr[i].text.len;
  char *out = malloc(most);
  if (!out) abort();
  char *end = out + sprintf(out, "%s", before);
  for (size_t i = 0; i < events->len; i++) {
    if (!is_told(&events->ptr[i])) continue;
    if (told++ > 0) end += sprintf(end, "%s", between);
    end = quoted(end, events->ptr[i].text);
  }
  end += sprintf(end, "%s", after);
  return (text){(uint8_t *)out, told > 0 ? (size_t)(end - out) : 0};
}

static bool tell(text body) {
  text hook, path;
  extension_string_set(&hook, "hook");
  extension_string_set(&path, "/");
  holdfast_host_http_response_t answer;
  holdfast_host_http_error_t error;
  bool sent = holdfast_host_http_send(&hook, HOLDFAST_HOST_HTTP_METHOD_POST, &path, &body, &answer, &error);
  bool taken = sent && answer.status >= 200 && answer.status <= 299;
  if (sent) {
    holdfast_host_http_response_free(&answer);
  } else {
    holdfast_host_http_error_free(&error);
  }
  return taken;
}

/* In the order in which they were written, at least once. To say that it did not work, set `error` and return
 * false. */
bool exports_holdfast_events_handler_handle(events_t *events, text *error) {
  text body = message(events);
  bool good = body.len == 0 || tell(body);
  free(body.ptr);
  exports_holdfast_events_handler_list_event_free(events);
  if (!good) extension_string_dup(error, "the hook did not take it");
  return good;
}
