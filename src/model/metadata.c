/* Strings kept with a model, sorted by key. */
#include <string.h>

#include "model/model.h"

/* Position of key, or where it would go. */
static size_t find(const nf_entries *entries, const char *key, bool *found) {
    size_t low = 0, high = entries->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(entries->entry[middle].key, key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = false;
    return low;
}

static nf_status duplicate(nf_context *context, const char *text, char **out) {
    size_t size = strlen(text) + 1;
    nf_status status = nf_allocate(context, out, size, 1, "metadata");
    if (status == NF_OK) memcpy(*out, text, size);
    return status;
}

/* Room for one more entry. */
static nf_status grow(nf_context *context, nf_entries *entries) {
    if (entries->count < entries->capacity) return NF_OK;
    size_t capacity = entries->capacity == 0 ? 32 : entries->capacity * 2;
    nf_entry *larger = NULL;
    nf_status status = nf_allocate(context, &larger, capacity, sizeof *larger, "metadata");
    if (status != NF_OK) return status;
    if (entries->count > 0) memcpy(larger, entries->entry, entries->count * sizeof *larger);
    nf_release(context, entries->entry);
    entries->entry = larger;
    entries->capacity = capacity;
    return NF_OK;
}

nf_status nf_entries_set(nf_context *context, nf_entries *entries, const char *key,
                         const char *value) {
    bool found;
    size_t at = find(entries, key, &found);
    char *new_value = NULL, *new_key = NULL;
    nf_status status = duplicate(context, value, &new_value);
    if (status != NF_OK) return status;
    if (found) {
        nf_release(context, entries->entry[at].value);
        entries->entry[at].value = new_value;
        return NF_OK;
    }
    status = duplicate(context, key, &new_key);
    if (status == NF_OK) status = grow(context, entries);
    if (status != NF_OK) {
        nf_release(context, new_key);
        nf_release(context, new_value);
        return status;
    }
    nf_entry *place = entries->entry + at;
    memmove(place + 1, place, (entries->count - at) * sizeof *place);
    *place = (nf_entry){new_key, new_value};
    entries->count++;
    return NF_OK;
}

nf_status nf_entries_copy(nf_context *context, const nf_entries *from, nf_entries *to) {
    nf_status status = NF_OK;
    for (size_t i = 0; status == NF_OK && i < from->count; i++) {
        status = nf_entries_set(context, to, from->entry[i].key, from->entry[i].value);
    }
    return status;
}

const char *nf_entries_get(const nf_entries *entries, const char *key) {
    bool found;
    size_t at = find(entries, key, &found);
    return found ? entries->entry[at].value : NULL;
}

void nf_entries_free(nf_context *context, nf_entries *entries) {
    for (size_t i = 0; i < entries->count; i++) {
        nf_release(context, entries->entry[i].key);
        nf_release(context, entries->entry[i].value);
    }
    nf_release(context, entries->entry);
    *entries = (nf_entries){NULL, 0, 0};
}

nf_status nf_model_set_metadata(nf_context *context, nf_model *model, const char *key,
                                const char *value) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status;
    if (key == NULL || value == NULL || key[0] == '\0') {
        status = nf_fail(context, NF_ERR_ARG,
                         "metadata needs a key of at least one character and "
                         "a value: both are strings");
    } else if (nf_model_key_reserved(key)) {
        status = nf_fail(context, NF_ERR_ARG,
                         "metadata key '%.60s' is the model's own: choose another name", key);
    } else {
        status = nf_entries_set(context, &model->metadata, key, value);
    }
    return nf_scope_leave(context, scope, status);
}

const char *nf_model_metadata(const nf_model *model, const char *key) {
    return nf_entries_get(&model->metadata, key);
}

const char *nf_model_metadata_at(const nf_model *model, size_t i, const char **value) {
    if (i >= model->metadata.count) return NULL;
    if (value != NULL) *value = model->metadata.entry[i].value;
    return model->metadata.entry[i].key;
}
