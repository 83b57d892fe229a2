#pragma once
#include <cstdint>
#include <vector>

/// Deliberate faults. Each runs on 64 threads unless it says otherwise and gives what its kernel wrote.
namespace faults {

std::vector<float> missing_barrier();  ///< reads its neighbour's shared element without waiting for it
std::vector<float> with_barrier();     ///< the same, mended
/// Sums over 256 threads, four times, through one shared array: without the barrier that keeps a warp from writing its
/// next part before the slower warps have read the last.
std::vector<float> overtaking_warps();
std::vector<float> two_threads_write_one_place();
std::vector<float> blocks_write_one_place();

void some_threads_exit_before_barrier();
void barriers_in_two_branches();
void lane_misses_shuffle();
void shuffle_from_outside_of_mask();

void store_past_end();  ///< of device memory, by one element
void store_past_dynamic_shared();
void store_past_static_shared();
void misaligned_vector_load();
void kernel_uses_freed_memory();
void host_reads_device_memory();
void host_copies_into_device_memory();  ///< with memcpy
void kernel_given_host_memory();

float read_of_unwritten_memory();
float read_of_unwritten_shared_memory();  ///< by the second of two blocks, after the first has written it

/// What an asynchronous copy of t + 1 brings into shared memory, read after a barrier, with and without waiting for the
/// copy itself.
std::vector<float> asynchronous_copy(bool with_wait);
void asynchronous_copy_past_end();  ///< of device memory
void misaligned_rows_of_matrices();
void mma_without_a_lane();

/// A copy on one stream and a kernel that reads what it brings on another, with and without an event between them.
float two_streams(bool with_event);
/// A pinned buffer changed before its copy has run, with and without waiting.
float pinned_buffer_reused(bool with_wait);

void too_many_threads();
void too_much_shared_memory();
/// Dynamic shared memory: by launch(), which asks for it, and past it.
void shared_memory(std::int64_t bytes);
void shared_memory_unasked(std::int64_t bytes);

}  // namespace faults
