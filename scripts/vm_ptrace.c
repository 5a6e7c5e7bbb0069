/* Lets user-mode Linux 6.1 run on processors with AMX: loaded into linux.uml by scripts/vm.sh, in place of ptrace().
 *
 * It keeps the vector registers of what runs inside in a buffer of 2696 bytes, which is all up to AVX-512 and PKRU. With
 * AMX the kernel's are 11 kB; it gives a part of them, but takes back nothing but the whole, and the machine dies as soon
 * as it boots. Here the part is put into the whole. AMX itself, which nothing may use without asking the kernel for it,
 * stays as it is.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NT_X86_XSTATE 0x202

static char whole[1 << 16]; /* its stacks are too small; the one thread of its kernel asks */

long ptrace(enum __ptrace_request request, ...) {
  va_list arguments;
  va_start(arguments, request);
  long pid = va_arg(arguments, long);
  long address = va_arg(arguments, long);
  struct iovec *part = va_arg(arguments, struct iovec *);
  va_end(arguments);

  if ((request != PTRACE_GETREGSET && request != PTRACE_SETREGSET) || address != NT_X86_XSTATE) {
    long word, peeked = request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER;
    long answer = syscall(SYS_ptrace, request, pid, address, peeked ? (void *)&word : (void *)part);
    return peeked && answer == 0 ? word : answer;
  }
  struct iovec all = {whole, sizeof whole};
  long answer = syscall(SYS_ptrace, PTRACE_GETREGSET, pid, address, &all);
  if (answer < 0) return answer;
  if (part->iov_len > all.iov_len) part->iov_len = all.iov_len;
  if (request == PTRACE_GETREGSET) {
    memcpy(part->iov_base, whole, part->iov_len);
    return answer;
  }
  memcpy(whole, part->iov_base, part->iov_len);
  return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, address, &all);
}
