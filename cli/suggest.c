/* The word someone probably meant: smallest edit distance, transpositions included. */
#include <string.h>

#include "cli.h"

#define LONGEST 40

static size_t smallest(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Optimal string alignment distance; both words are at most LONGEST characters. */
static size_t edit_distance(const char *a, size_t n, const char *b, size_t m) {
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++) last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = a[i - 1] != b[j - 1];
            now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j]) {
                now[j] = before[j - 2] + 1;
            }
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[m];
}

const char *cli_suggest(const char *text, const char *const *words, size_t count) {
    const size_t length = strlen(text);
    const char *best = NULL;
    size_t least = 0;
    if (length == 0 || length > LONGEST) return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(words[i]);
        if (size > LONGEST) continue;
        size_t distance = edit_distance(text, length, words[i], size);
        size_t allowed = size < 4 ? 1 : (size + 2) / 3;
        /* The start of a word, or a word with more behind it, is near too. */
        size_t common = length < size ? length : size;
        bool begins = common >= 3 && strncmp(text, words[i], common) == 0;
        if (begins && distance > 2) distance = 2;
        if ((begins || distance <= allowed) && (best == NULL || distance < least)) {
            best = words[i];
            least = distance;
        }
    }
    return best;
}
