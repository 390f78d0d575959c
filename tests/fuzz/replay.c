/* Runs the inputs of directories through a fuzz target, each once; libFuzzer is not needed. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <dirent.h>
#include <signal.h>

#include "tests/fuzz/fuzz.h"

enum { MOST_BYTES = 1 << 20, LONGEST_PATH = 4096 };

/* Named where the target aborts. */
static char path[LONGEST_PATH];

static void say_where(int signal)
{
    (void)signal;
    fprintf(stderr, "the input is %s\n", path);
}

/* The input lies in a block of just its size, so that a sanitizer sees reads beyond it. */
static void run_file(void)
{
    static uint8_t bytes[MOST_BYTES];
    FILE *file = fopen(path, "rb");
    require(file != NULL);
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    require(size < sizeof(bytes));
    uint8_t *data = malloc(size + 1);
    require(data != NULL);
    memcpy(data + 1, bytes, size);
    LLVMFuzzerTestOneInput(data + 1, size);
    free(data);
}

static unsigned run_directory(const char *name)
{
    unsigned runs = 0;
    DIR *directory = opendir(name);
    if (directory == NULL) {
        fprintf(stderr, "%s: no such directory\n", name);
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", name, entry->d_name);
        run_file();
        runs++;
    }
    closedir(directory);
    return runs;
}

/* Without arguments, test_corpus_NAME runs tests/corpus/NAME. No input at all is a failure. */
int main(int argc, char **argv)
{
    static char own[LONGEST_PATH];
    const char *name = strrchr(argv[0], '_');
    unsigned runs = 0;
    signal(SIGABRT, say_where);
    for (int i = 1; i < argc; i++)
        runs += run_directory(argv[i]);
    if (argc == 1 && name != NULL) {
        snprintf(own, sizeof(own), "tests/corpus/%s", name + 1);
        runs = run_directory(own);
    }
    printf("%u inputs\n", runs);
    return runs == 0;
}
