/* Tells a webhook when a host is fenced.
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

/* {"text":"…"}, on the heap. */
static text json(text words) {
  static const char before[] = "{\"text\":\"", after[] = "\"}";
  /* The worst that becomes of a byte is \u00XX. */
  char *out = malloc(sizeof before + 6 * words.len + sizeof after);
  if (!out) abort();
  char *end = out + sprintf(out, "%s", before);
  for (size_t i = 0; i < words.len; i++) {
    uint8_t byte = words.ptr[i];
    bool special = byte < 0x20 || byte == '"' || byte == '\\';
    end += sprintf(end, special ? "\\u%04x" : "%c", byte);
  }
  end += sprintf(end, "%s", after);
  return (text){(uint8_t *)out, (size_t)(end - out)};
}

static bool tell(text words) {
  text hook, path, body = json(words);
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
  free(body.ptr);
  return taken;
}

/* In the order in which they were written, at least once. To say that it did not work, set `error` and return
 * false. */
bool exports_holdfast_events_handler_handle(
    exports_holdfast_events_handler_list_event_t *events, text *error) {
  bool good = true;
  for (size_t i = 0; i < events->len; i++) {
    /* Pass over kinds that are not known: there will be more. */
    if (is(events->ptr[i].kind, "host-fenced")) good = tell(events->ptr[i].text) && good;
  }
  exports_holdfast_events_handler_list_event_free(events);
  if (!good) extension_string_dup(error, "the hook did not take it");
  return good;
}
