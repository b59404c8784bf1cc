/* device_tree: the three things a small guest wants of a flattened device tree (devicetree-specification chapter 5). */
#include "arm.h"

#define MAGIC 0xd00dfeed
#define BEGIN_NODE 1
#define END_NODE 2
#define PROPERTY 3
#define NOP 4

static uint32_t cell(const void *at)
{
    const uint8_t *byte = at;
    return (uint32_t)byte[0] << 24 | (uint32_t)byte[1] << 16 | (uint32_t)byte[2] << 8 | byte[3];
}

static uint64_t cells(const uint8_t *at, uint32_t count)
{
    return count > 1 ? (uint64_t)cell(at) << 32 | cell(at + 4) : cell(at);
}

struct told device_tree(const void *tree)
{
    const uint8_t *bytes = tree;
    struct told told = {RAM + (4 << 20), "", (uintptr_t)tree};
    if (!tree || cell(bytes) != MAGIC)
        return told;
    uint32_t size = cell(bytes + 4), wide_address = 2, wide_size = 2;
    const uint8_t *at = bytes + cell(bytes + 8), *end = bytes + size;
    const char *names = (const char *)bytes + cell(bytes + 12);
    int depth = 0;
    bool memory = false, chosen = false;
    told.tree_end = (uintptr_t)end;
    while (at + 12 <= end) {
        uint32_t token = cell(at);
        at += 4;
        if (token == BEGIN_NODE) {
            const char *name = (const char *)at;
            depth++;
            memory = depth == 2 && strncmp(name, "memory", 6) == 0;
            chosen = depth == 2 && strcmp(name, "chosen") == 0;
            at += (strlen(name) + 4) & ~3u;
        } else if (token == END_NODE) {
            depth--;
            memory = chosen = false;
        } else if (token == PROPERTY) {
            uint32_t length = cell(at);
            const char *name = names + cell(at + 4);
            const uint8_t *value = at + 8;
            if (depth == 1 && strcmp(name, "#address-cells") == 0)
                wide_address = cell(value);
            if (depth == 1 && strcmp(name, "#size-cells") == 0)
                wide_size = cell(value);
            if (chosen && strcmp(name, "bootargs") == 0)
                told.bootargs = (const char *)value;
            if (memory && strcmp(name, "reg") == 0 && length >= 4 * (wide_address + wide_size))
                told.memory_end = cells(value, wide_address) + cells(value + 4 * wide_address, wide_size);
            at += 8 + ((length + 3) & ~3u);
        } else if (token != NOP) {
            break;
        }
    }
    return told;
}
