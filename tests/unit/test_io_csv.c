/* CSV and TSV: what is read, what is refused with line, column and remedy, and label columns. */
#include "io_test.h"

#include <locale.h>
#include <math.h>
#include <stdbool.h>

static nf_context *ctx;

static int setup(void **state) {
    (void)state;
    ctx = test_context(1);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    nf_context_free(ctx);
    return 0;
}

static nf_table *parse_with(const void *text, size_t size, const nf_csv_options *options) {
    void *copy = exact_copy(text, size);
    nf_table *table = NULL;
    assert_ok(ctx, nf_csv_parse(ctx, copy, size, options, &table));
    free(copy);
    return table;
}

static nf_table *parse(const char *text) { return parse_with(text, strlen(text), NULL); }

static void refuse_with(const void *text, size_t size, const nf_csv_options *options,
                        const char *message) {
    void *copy = exact_copy(text, size);
    nf_table *table = NULL;
    assert_fails(ctx, nf_csv_parse(ctx, copy, size, options, &table), NF_ERR_DATA, message);
    assert_null(table);
    free(copy);
}

static void refuse(const char *text, const char *message) {
    refuse_with(text, strlen(text), NULL, message);
}

static void check_values(const nf_table *table, size_t rows, size_t cols, const double *values) {
    assert_int_equal(table->x->dtype, NF_DTYPE_F64);
    assert_int_equal(table->x->shape[0], rows);
    assert_int_equal(table->x->shape[1], cols);
    assert_memory_equal(table->x->data, values, rows * cols * sizeof *values);
}

static void check_labels(const nf_table *table, size_t n, const int64_t *labels) {
    assert_non_null(table->labels);
    assert_int_equal(table->labels->count, n);
    assert_memory_equal(table->labels->data, labels, n * sizeof *labels);
}

static void reads_every_usual_spelling(void **state) {
    (void)state;
    static const double values[4] = {1, -2.5, 3e-2, 4};
    static const char *const texts[] = {
        "1,-2.5\n3e-2,4\n", /* plain */
        "1,-2.5\n3e-2,4",   /* no final newline */
        ("\xef\xbb\xbf"
         "1,-2.5\n3e-2,4\n"),                 /* byte order mark */
        "1,-2.5\r\n3e-2,4\r\n",               /* CRLF */
        "1\t-2.5\n3e-2\t4\n",                 /* tabs */
        "1;-2.5\n3e-2;4\n",                   /* semicolons */
        "1 -2.5\n3e-2 4\n",                   /* blanks, as numpy.savetxt */
        "   1   -2.5  \n 3e-2\t4 \n",         /* runs of blanks */
        " 1 , -2.5 \n3e-2 ,  4\n",            /* blanks around */
        "\"1\",\"-2.5\"\n\"3e-2\", \"4\" \n", /* quotes */
        "+1,-2.5000\n.03,4.\n",               /* signs, bare points */
        "1e0,-25E-1\n3.0e-02,0.4e+1\n",
        "a,b\n1,-2.5\n3e-2,4\n", /* header */
        "\"a\nb\",\"c\"\"d\"\n1,-2.5\n3e-2,4\n",
        "1,-2.5\n3e-2,4\n\n\r\n  \n", /* blank lines at the end */
    };
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        nf_table *table = parse(texts[k]);
        check_values(table, 2, 2, values);
        assert_null(table->labels);
        nf_table_free(ctx, table);
    }
}

static void extreme_numbers_are_correctly_rounded(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } cases[] = {{"0.1", 0.1},
                 {"9007199254740993", 9007199254740992.0}, /* ties to even */
                 {"9007199254740993.0000000000000000000000000000000000001", 9007199254740994.0},
                 {"1.7976931348623157e308", 1.7976931348623157e308},
                 {"4.9e-324", 4.9e-324},
                 {"2.2250738585072011e-308", 2.2250738585072011e-308},
                 {"1e-999", 0.0},
                 {"-0", -0.0},
                 {"0e999", 0.0},
                 {"100000000000000000000000000000000000000000e-41", 1.0}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        nf_table *table = parse(cases[k].text);
        assert_memory_equal(table->x->data, &cases[k].value, sizeof(double));
        nf_table_free(ctx, table);
    }
    /* the exact decimal expansion of the smallest number, over a thousand characters */
    char text[1100];
    int length = snprintf(text, sizeof text, "%.1074f", 4.9406564584124654e-324);
    nf_table *table = parse_with(text, (size_t)length, NULL);
    assert_true(((double *)table->x->data)[0] == 4.9406564584124654e-324);
    nf_table_free(ctx, table);
}

static void refuses_what_is_no_number(void **state) {
    (void)state;
    refuse("1,2\n3,1e999\n", "line 2, column 1: '1e999' is beyond the range of float64");
    refuse("1,2\n0x1p3,1\n", "line 2, column 0: '0x1p3' is hexadecimal");
    refuse("1,2\nnan(0x1),1\n", "not finite");
    refuse("1,2\nnan,1\n", "not finite");
    refuse("1,2\nNA,1\n", "not finite");
    refuse("1,2\n-inf,1\n", "not finite");
    refuse("1,2\nInfinity,1\n", "not finite");
    refuse("a;b\n1,5;2\n", "line 2, column 0 ('a'): '1,5' is a number with a decimal comma");
    refuse("1;2\n1,234;2\n", "decimal comma or thousands separator");
    refuse("a,b\n\"1,234,567\",2\n", "thousands separators");
    refuse("a,b\n1.234.567,2\n", "thousands separators");
    refuse("a,b\n1'234,2\n", "thousands separators");
    refuse("a,b\n1 234,2\n", "thousands separators");
    refuse("1,2\n3,x\n", "line 2, column 1: 'x' is not a number");
    refuse("1,2\n3,\n", "line 2, column 1: '' is empty");
    refuse("1,2\n3,1e\n", "not a number");
    refuse("1,2\n3,.\n", "not a number");
    refuse("1,2\n3,+-1\n", "not a number");
    refuse("1,2\n3,1 2\n", "not a number");
    refuse("1,2\n3,1_000\n", "thousands separators");
    refuse("5.1,3.5,setosa\n4.9,3.0,setosa\n", "choose it as the label column");
    static char text[3000] = "1\n";
    memset(text + 2, '1', 2000);
    refuse(text, "too long for a number");
}

static void refuses_broken_text(void **state) {
    (void)state;
    refuse("", "the file is empty");
    refuse("\xef\xbb\xbf", "the file is empty");
    refuse("1,2\r3,4\r", "line 1 ends in a lone carriage return");
    refuse("1,2\n3,\"4\n5,6\n", "line 2: the quote that opens here is never closed");
    refuse("\"1\"x,2\n", "line 1: text follows a closing quote");
    refuse("1,2\n\n3,4\n", "line 2 is empty");
    refuse("1\n\n3\n", "line 2");
    refuse("1,2\n3\n", "line 2 has 1 column where line 1 has 2");
    refuse("1,2\n3,4,5\n", "line 2 has 3 columns where line 1 has 2; numbers need a decimal point");
    refuse("\"a\nb\",c\n1,2\n3\n", "line 4 has 1 column");
    refuse("a,b\n", "a header but no rows");
    refuse("label\n1\n", "features are missing");
    refuse("\n\n\n", "blank lines but no rows");
    refuse(",a\n0,1\n1,2\n", "index=False");
    refuse_with(BYTES("1,2\n3,\0004\n"), NULL, "line 2 holds a NUL byte");
    refuse_with(BYTES("1,2\n3,\"\0004\"\n"), NULL, "line 2 holds a NUL byte");
    refuse_with(BYTES("\xff\xfe"
                      "1\0,\0"),
                NULL, "UTF-16");
    refuse_with(BYTES("\xfe\xff\0001\0,"), NULL, "UTF-16");
}

static void many_columns_take_linear_time(void **state) {
    (void)state;
    size_t columns = 1000000, size = 2 * columns;
    char *text = malloc(size);
    assert_non_null(text);
    for (size_t i = 0; i < columns; i++) text[2 * i] = (char)('0' + i % 10), text[2 * i + 1] = ',';
    text[size - 1] = '\n';
    nf_table *table = parse_with(text, size, NULL);
    assert_int_equal(table->x->shape[1], columns);
    for (size_t i = 0; i < columns; i++)
        assert_true(((double *)table->x->data)[i] == (double)(i % 10));
    nf_table_free(ctx, table);
    /* a header of as many names, and no memory for a table of empty cells */
    memset(text, ',', size);
    refuse_with(text, size, NULL, "empty");
    free(text);
}

static void headers_are_found(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t rows;
        const char *first; /* name of the first feature; NULL: no header */
    } cases[] = {{"a,b\n1,2\n", 1, "a"},
                 {"1,2\n3,4\n", 2, NULL},
                 {"0,1,class\n5,6,x\n", 1, "0"}, /* a named label column */
                 {"w, \"h \"\"x\"\"\" \n1,2\n", 1, "w"},
                 {"\"\xc3\xa9t\xc3\xa9\",b\n1,2\n", 1, "\xc3\xa9t\xc3\xa9"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        nf_table *table = parse(cases[k].text);
        assert_int_equal(table->x->shape[0], cases[k].rows);
        if (cases[k].first == NULL)
            assert_null(table->columns);
        else
            assert_string_equal(table->columns[0], cases[k].first);
        nf_table_free(ctx, table);
    }
    nf_table *table = parse("w,\"h \"\"x\"\"\"\n1,2\n");
    assert_string_equal(table->columns[1], "h \"x\"");
    assert_null(table->columns[2]);
    nf_table_free(ctx, table);

    nf_csv_options options = nf_csv_defaults();
    options.header = 1; /* numbers as names */
    table = parse_with(BYTES("1,2\n3,4\n"), &options);
    assert_int_equal(table->x->shape[0], 1);
    assert_string_equal(table->columns[1], "2");
    nf_table_free(ctx, table);
    options.header = 0;
    refuse_with(BYTES("a,b\n3,4\n"), &options, "line 1, column 0: 'a'");
}

static void label_columns_by_name_and_number(void **state) {
    (void)state;
    static const double values[4] = {1, 2, 3, 4};
    static const int64_t labels[2] = {7, -3};
    static const char *const names[] = {"label", "Class", "TARGET", "y"};
    char text[100];
    for (int k = 0; k < 4; k++) {
        snprintf(text, sizeof text, "a,%s,b\n1,7,2\n3,-3,4\n", names[k]);
        nf_table *table = parse(text);
        check_values(table, 2, 2, values);
        check_labels(table, 2, labels);
        assert_string_equal(table->label_column, names[k]);
        assert_string_equal(table->columns[1], "b");
        assert_null(table->class_names);
        assert_false(table->has_unlabelled);
        nf_table_free(ctx, table);
    }
    nf_csv_options options = nf_csv_defaults();
    options.label_column = "kind";
    nf_table *table = parse_with(BYTES("a,kind,y\n1,7,2\n3,-3,4\n"), &options);
    check_values(table, 2, 2, values); /* y is a feature then */
    check_labels(table, 2, labels);
    nf_table_free(ctx, table);
    options.label_column = "1";
    table = parse_with(BYTES("1,7,2\n3,-3,4\n"), &options);
    check_values(table, 2, 2, values);
    check_labels(table, 2, labels);
    assert_null(table->label_column);
    nf_table_free(ctx, table);
    options.label_column = "0"; /* no header: names a column by number even if text */
    table = parse_with(BYTES("x,1,2\nz,3,4\n"), &options);
    check_values(table, 2, 2, values);
    assert_int_equal(table->classes, 2);
    nf_table_free(ctx, table);

    options.label_column = "none";
    refuse_with(BYTES("a,kind\n1,2\n"), &options,
                "no label column 'none': the columns are a, kind");
    options.label_column = "2";
    refuse_with(BYTES("1,2\n"), &options, "the columns are 0 to 1");
    options = nf_csv_defaults();
    options.require_labels = 1;
    refuse_with(BYTES("a,b\n1,2\n"), &options, "the columns are a, b");
    refuse("y,a,label\n1,2,3\n", "columns 0 and 2 may both be labels");
    options = nf_csv_defaults();
    options.features_only = 1;
    table = parse_with(BYTES("y,label\n1,2\n3,4\n"), &options);
    check_values(table, 2, 2, values);
    nf_table_free(ctx, table);
    options.labels_only = 1;
    table = NULL;
    assert_fails(ctx, nf_csv_parse(ctx, "1\n", 2, &options, &table), NF_ERR_ARG, "contradicts");
    options = nf_csv_defaults();
    options.separator = '.';
    assert_fails(ctx, nf_csv_parse(ctx, "1\n", 2, &options, &table), NF_ERR_ARG,
                 "separator is '.'");
}

/* Labels alone, in one column. */
static nf_table *labels_of(const char *text) {
    nf_csv_options options = nf_csv_defaults();
    options.labels_only = 1;
    return parse_with(text, strlen(text), &options);
}

static void refuse_labels(const char *text, const char *message) {
    nf_csv_options options = nf_csv_defaults();
    options.labels_only = 1;
    refuse_with(text, strlen(text), &options, message);
}

static void number_labels_keep_their_value(void **state) {
    (void)state;
    static const int64_t labels[] = {
        0, 255, -128, 9007199254740992, 9007199254740993, INT64_MAX, INT64_MIN, 3, 4, 0};
    nf_table *table = labels_of("0\n255\n-128\n9007199254740992\n9007199254740993\n"
                                "9223372036854775807\n-9223372036854775808\n+3\n4.0\n-0.0\n");
    check_labels(table, 10, labels);
    assert_null(table->class_names);
    assert_false(table->has_unlabelled);
    assert_null(table->x);
    nf_table_free(ctx, table);
}

static void unlabelled_cells(void **state) {
    (void)state;
    static const int64_t labels[] = {1, -1, 2, -1, -1};
    nf_table *table = labels_of("1\n\n2\n?\n\"\"\n");
    check_labels(table, 5, labels);
    assert_true(table->has_unlabelled);
    nf_table_free(ctx, table);

    table = labels_of("1\n-1\n2\n"); /* -1 is scikit-learn's mark in a column of numbers */
    assert_true(table->has_unlabelled);
    nf_table_free(ctx, table);
    table = labels_of("1\n-1.0\n2\n");
    assert_true(table->has_unlabelled);
    nf_table_free(ctx, table);

    table = labels_of("x\nz\n-1\n"); /* but a name among names */
    assert_false(table->has_unlabelled);
    assert_int_equal(table->classes, 3);
    nf_table_free(ctx, table);

    table = parse("a,class\n1,cat\n2,\n3,?\n4,dog\n5,cat\n");
    static const int64_t mixed[] = {0, -1, -1, 1, 0};
    check_labels(table, 5, mixed);
    assert_true(table->has_unlabelled);
    nf_table_free(ctx, table);
}

static void string_labels_are_bytes(void **state) {
    (void)state;
    /* same text, composed and decomposed; case; quotes; blanks trimmed; numbers among names */
    nf_table *table = labels_of("\xc3\xa9\ne\xcc\x81\nE\n\"a \"\"b\"\", c\"\n  a  \n\"a\"\n1\n1.0\n"
                                "\xff\xfe\n");
    static const int64_t labels[] = {0, 1, 2, 3, 4, 4, 5, 6, 7};
    check_labels(table, 9, labels);
    assert_int_equal(table->classes, 8);
    assert_string_equal(table->class_names[3], "a \"b\", c");
    assert_string_equal(table->class_names[7], "\xff\xfe");
    assert_null(table->class_names[8]);
    nf_table_free(ctx, table);
}

static void labels_beyond_int64_become_classes(void **state) {
    (void)state;
    static const int64_t labels[] = {0, 1, 2, 0};
    nf_table *table = labels_of("9223372036854775808\n9223372036854775809\n1\n"
                                "9223372036854775808\n");
    check_labels(table, 4, labels);
    assert_string_equal(table->class_names[1], "9223372036854775809");
    nf_table_free(ctx, table);
}

static void labels_that_are_no_classes_are_refused(void **state) {
    (void)state;
    refuse_labels("1\n1.5\n", "line 2: label '1.5' is not a whole number");
    refuse_labels("1\nnan\n2\n", "line 2: label 'nan'");
    refuse_labels("1\n1e300\n", "line 2: label '1e300'");
    refuse_labels("1\n9.007199254740993e15\n", "line 2"); /* float64 could not tell it apart */
    refuse_labels("a,b\n1,2\n", "no column is called label");
    nf_table *table = labels_of("x\nz\nnan\n1.5\n"); /* names */
    assert_int_equal(table->classes, 4);
    nf_table_free(ctx, table);
}

static void lists_of_labels_and_headers(void **state) {
    (void)state;
    nf_table *table = labels_of("species\n1\n2\n"); /* text above numbers */
    assert_int_equal(table->labels->count, 2);
    assert_string_equal(table->label_column, "species");
    nf_table_free(ctx, table);
    table = labels_of("cat\ndog\n"); /* all names: no header */
    assert_int_equal(table->labels->count, 2);
    nf_table_free(ctx, table);
    table = labels_of("label\ncat\ndog\n");
    assert_int_equal(table->labels->count, 2);
    nf_table_free(ctx, table);
    table = labels_of("cat");
    assert_int_equal(table->labels->count, 1);
    nf_table_free(ctx, table);
    table = labels_of("New York\nSan Francisco\nNew York\n"); /* blanks do not separate */
    assert_int_equal(table->classes, 2);
    nf_table_free(ctx, table);
}

static void many_classes_in_order_of_appearance(void **state) {
    (void)state;
    size_t n = 20000, used = 0;
    char *text = malloc(n * 16);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        used += (size_t)sprintf(text + used, "c%zu\n", i * 7919 % 10007);
    }
    nf_csv_options options = nf_csv_defaults();
    options.labels_only = 1;
    nf_table *table = parse_with(text, used, &options);
    assert_int_equal(table->classes, 10007);
    const int64_t *labels = table->labels->data;
    int64_t next = 0;
    for (size_t i = 0; i < n; i++) {
        char name[16];
        assert_true(labels[i] <= next);
        if (labels[i] == next) next++;
        sprintf(name, "c%zu", i * 7919 % 10007);
        assert_string_equal(table->class_names[labels[i]], name);
    }
    nf_table_free(ctx, table);
    free(text);
}

/* A locale with a decimal comma: an installed one, else one made here. False if neither works. */
static bool decimal_comma_locale(void) {
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "da_DK.UTF-8"};
    for (size_t k = 0; k < sizeof locales / sizeof *locales; k++) {
        if (setlocale(LC_ALL, locales[k]) != NULL) return true;
    }
    char command[300], folder[] = "/tmp/nf_locale_XXXXXX";
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command,
             "localedef -c -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", folder);
    int made = system(command);
    setenv("LOCPATH", folder, 1);
    bool found = setlocale(LC_ALL, "de_DE.UTF-8") != NULL;
    unsetenv("LOCPATH");
    snprintf(command, sizeof command, "rm -r %s", folder);
    (void)made;
    assert_int_equal(system(command), 0);
    return found;
}

static void results_do_not_depend_on_the_locale(void **state) {
    (void)state;
    static const double values[4] = {1.5, 2.25, 1000, -0.125};
    if (!decimal_comma_locale()) skip();
    char comma[16];
    snprintf(comma, sizeof comma, "%.1f", 1.5);
    assert_string_equal(comma, "1,5");
    nf_table *table = parse("1.5,2.25\n1e3,-.125\n");
    check_values(table, 2, 2, values);
    nf_table_free(ctx, table);
    const char *path = temp_path("x.csv");
    char text[100] = {0};
    assert_ok(ctx, nf_csv_write(ctx, path, nf_matrix_f64(values, 2, 2), NULL));
    read_back(path, text, sizeof text - 1);
    assert_string_equal(text, "1.5,2.25\n1000,-0.125\n");
    temp_remove(path);
    snprintf(comma, sizeof comma, "%.1f", 1.5);
    assert_string_equal(comma, "1,5"); /* and the host's locale is untouched */
    setlocale(LC_ALL, "C");
}

/* Write, read: the same bits. */
static void written_tables_read_back_the_same(void **state) {
    (void)state;
    static const char *const names[3] = {"plain", "with, comma", "with \"quotes\"\nand a line"};
    char buffer[20000];
    union {
        uint64_t bits;
        double value;
    } wide[300];
    for (size_t i = 0; i < 300; i++) {
        double random[2];
        test_random_f64(i, random, 2, 0, 1);
        do {
            wide[i].bits = (uint64_t)(random[0] * 0x1p32) << 32 | (uint64_t)(random[1] * 0x1p32);
            random[0] = random[0] / 2;
        } while (!isfinite(wide[i].value));
    }
    wide[0].value = -0.0, wide[1].value = 4.9e-324, wide[2].value = 1.7976931348623157e308;
    const char *path = temp_path("x.csv");
    assert_ok(ctx, nf_csv_write(ctx, path, nf_matrix_f64(&wide[0].value, 100, 3), names));
    nf_table *table = NULL;
    assert_ok(ctx, nf_table_load(ctx, path, NULL, &table));
    check_values(table, 100, 3, &wide[0].value);
    for (int k = 0; k < 3; k++) assert_string_equal(table->columns[k], names[k]);
    nf_table_free(ctx, table);

    float narrow[300];
    test_random_f32(5, narrow, 300, -1e-3, 1e3);
    narrow[0] = 1.4e-45f, narrow[1] = 3.4028235e38f;
    assert_ok(ctx, nf_csv_write(ctx, path, nf_matrix_f32(narrow, 100, 3), NULL));
    assert_ok(ctx, nf_csv_parse(ctx, buffer, read_back(path, buffer, sizeof buffer), NULL, &table));
    for (size_t i = 0; i < 300; i++) assert_true((float)((double *)table->x->data)[i] == narrow[i]);
    nf_table_free(ctx, table);

    narrow[7] = NAN;
    assert_fails(ctx, nf_csv_write(ctx, path, nf_matrix_f32(narrow, 100, 3), NULL), NF_ERR_DATA,
                 "row 2, column 1");
    assert_fails(ctx, nf_csv_write(ctx, path, nf_matrix_f32(narrow, 3, 0), NULL), NF_ERR_ARG,
                 "no columns");
    temp_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_usual_spelling),
        cmocka_unit_test(extreme_numbers_are_correctly_rounded),
        cmocka_unit_test(refuses_what_is_no_number),
        cmocka_unit_test(refuses_broken_text),
        cmocka_unit_test(many_columns_take_linear_time),
        cmocka_unit_test(headers_are_found),
        cmocka_unit_test(label_columns_by_name_and_number),
        cmocka_unit_test(number_labels_keep_their_value),
        cmocka_unit_test(unlabelled_cells),
        cmocka_unit_test(string_labels_are_bytes),
        cmocka_unit_test(labels_beyond_int64_become_classes),
        cmocka_unit_test(labels_that_are_no_classes_are_refused),
        cmocka_unit_test(lists_of_labels_and_headers),
        cmocka_unit_test(many_classes_in_order_of_appearance),
        cmocka_unit_test(results_do_not_depend_on_the_locale),
        cmocka_unit_test(written_tables_read_back_the_same),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
