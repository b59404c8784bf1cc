/* Integers by their width, for a guest that has no C library. */
#pragma once

typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __INTPTR_TYPE__ intptr_t;
typedef __UINTPTR_TYPE__ uintptr_t;

#define INT32_MAX 0x7fffffff
#define UINT32_MAX 0xffffffffu
#define UINT64_MAX (~(uint64_t)0)
#define SIZE_MAX (~(__SIZE_TYPE__)0)
