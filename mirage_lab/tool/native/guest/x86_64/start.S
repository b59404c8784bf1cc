/* start.S: from the PVH entry to C, on x86-64.
 *
 *     Xen's note 18 says where: flat 32-bit protected mode, paging off, EBX = hvm_start_info
 *     page tables: every address is its own, 4 KiB pages below 2 MiB, 2 MiB pages up to the end of memory
 *         page 0 not there │ code and constants: read only │ the rest: no code │ a page not there below each stack
 *     long mode, then a descriptor table that leads exceptions and Xen's callback to C
 */

#define PRESENT 1
#define WRITE 2
#define LARGE 0x80
#define NO_EXEC_HIGH 0x80000000 /* bit 63 */
#define EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define CR0_PG_WP_ET_PE 0x80010011
#define CR4_PAE 0x20
#define CODE 0x08
#define DATA 0x10
#define STACK 16384

    .section .note.Xen, "a", @note
    .p2align 2
    .long 4, 4, 18                      /* owner, value and type: XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long _start

    .section .head, "ax", @progbits
    .code32
    .globl _start
_start:
    cld
    movl $stack_top, %esp

    movl $pdpt + PRESENT + WRITE, pml4
    movl $pd + PRESENT + WRITE, %eax
    xorl %ecx, %ecx
1:  movl %eax, pdpt(, %ecx, 8)          /* four directories: 4 GiB */
    addl $4096, %eax
    incl %ecx
    cmpl $4, %ecx
    jne 1b

    movl $pt + PRESENT + WRITE, pd
    movl $1, %ecx                       /* page 0 is left out: a null pointer leads there */
2:  movl %ecx, %eax
    shll $12, %eax
    cmpl $_image, %eax
    jb 3f
    cmpl $_text_end, %eax
    jae 3f
    orl $PRESENT, %eax
    movl %eax, pt(, %ecx, 8)
    jmp 4f
3:  orl $PRESENT + WRITE, %eax
    movl %eax, pt(, %ecx, 8)
    movl $NO_EXEC_HIGH, pt + 4(, %ecx, 8)
4:  incl %ecx
    cmpl $512, %ecx
    jne 2b
    movl $guard, %eax
    call leave_out
    movl $exception_guard, %eax
    call leave_out

    movl 40(%ebx), %esi                 /* memmap_paddr */
    movl 48(%ebx), %edi                 /* memmap_entries */
    movl $1, %ecx                       /* the next entry of the directories */
5:  testl %edi, %edi
    jz 8f
    cmpl $1, 16(%esi)                   /* memory, from a page to a page */
    jne 7f
    movl (%esi), %eax
    movl 8(%esi), %edx
    cmpl $0, 4(%esi)
    jne 7f
    addl %eax, %edx
    movl %edx, memory_end
6:  movl %ecx, %eax
    shll $21, %eax
    cmpl %edx, %eax
    jae 7f
    orl $PRESENT + WRITE + LARGE, %eax
    movl %eax, pd(, %ecx, 8)
    movl $NO_EXEC_HIGH, pd + 4(, %ecx, 8)
    incl %ecx
    jmp 6b
7:  addl $24, %esi
    decl %edi
    jmp 5b

8:  movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $EFER, %ecx
    movl $EFER_LME_NXE, %eax
    xorl %edx, %edx
    wrmsr
    movl $CR0_PG_WP_ET_PE, %eax
    movl %eax, %cr0
    lgdt gdt_register
    ljmp $CODE, $wide

leave_out:                              /* take the page at EAX away */
    shrl $12, %eax
    movl $0, pt(, %eax, 8)
    ret

    .code64
wide:
    movl $DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %ebx, %edi
    call machine_start
    ud2
    .type _start, @function
    .size _start, . - _start

    .text
/* hypercall(number, a, b, c, d): into the entry of its number, 32 bytes each, of the page that Xen has filled */
    .globl hypercall
hypercall:
    movq %rdi, %rax
    shlq $5, %rax
    addq $hypercall_page, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %r8, %r10
    jmp *%rax

    .globl irq_save
irq_save:
    pushfq
    popq %rax
    cli
    ret

    .globl irq_restore
irq_restore:
    pushq %rdi
    popfq
    ret

    .globl machine_idle
machine_idle:
    sti                                 /* lets nothing in before the next instruction */
    hlt
    cli
    ret

/* Exceptions: all look alike on the stack, number and error code above where it happened. */
.macro exception number, has_error = 0
    .p2align 4
    .if \has_error == 0
    pushq $0
    .endif
    pushq $\number
    jmp excepted
.endm

    .p2align 4
    .globl exceptions
exceptions:
    .irp number, 0, 1, 2, 3, 4, 5, 6, 7
    exception \number
    .endr
    exception 8, 1
    exception 9
    .irp number, 10, 11, 12, 13, 14
    exception \number, 1
    .endr
    .irp number, 15, 16
    exception \number
    .endr
    exception 17, 1
    .irp number, 18, 19, 20
    exception \number
    .endr
    exception 21, 1
    .irp number, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    exception \number
    .endr

excepted:
    movq %rsp, %rdi
    movq %cr2, %rsi
    call excepted_at
    ud2

/* Xen's callback: something is pending in shared_info. */
    .globl callback
callback:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    cld
    call events_upcall
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    iretq

    .p2align 12
    .globl hypercall_page
hypercall_page:
    .skip 4096

    .data
    .p2align 3
    .globl gdt
gdt:
    .quad 0
    .quad 0x00af9b000000ffff            /* code, 64 bits */
    .quad 0x00cf93000000ffff            /* data */
    .quad 0, 0                          /* the task state: written by machine_start */
gdt_register:
    .word . - gdt - 1
    .long gdt
    .long 0

    .section .bss.first, "aw", @nobits
    .p2align 12
pml4:
    .skip 4096
pdpt:
    .skip 4096
    .globl pd
pd: .skip 4 * 4096
pt: .skip 4096
    .globl guard
guard:
    .skip 4096
    .skip STACK
stack_top:
exception_guard:
    .skip 4096
    .skip 4096
    .globl exception_stack_top
exception_stack_top:
