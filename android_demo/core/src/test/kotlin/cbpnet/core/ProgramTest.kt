package cbpnet.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class ProgramTest {
    private val bundle = FakeBundle()
    private val program = bundle.program()
    private val mean = "state.classes.mean" to FloatTensor.zeros(listOf(4, 3))
    private val count = "state.classes.count" to FloatTensor.zeros(listOf(4))
    private val query = "query" to FloatTensor(floatArrayOf(1f, 2f, 3f, 4f, 5f, 6f), listOf(2, 3))
    private val labels = "labels" to LongTensor(longArrayOf(1, -1), listOf(2))

    @Test
    fun tensorsArePairedByNameInTheManifestsOrder() {
        val other = "other" to FloatTensor.zeros(listOf(1))
        val given = program.call("observe", mapOf(mean, labels, count, query, other))
        val order = listOf("query", "labels", "state.classes.count", "state.classes.mean")
        assertEquals(order, bundle.calls.last().inputs.keys.toList())
        assertEquals(query.second.values.toList(), bundle.calls.last().floats("query"))
        val counted = given.getValue("state.classes.count") as FloatTensor
        assertArrayEquals(floatArrayOf(0f, 1f, 0f, 0f), counted.values, 0f)
    }

    @Test
    fun missingAndMisshapenTensorsAreNamed() {
        for (wrong in listOf(
            mapOf(mean, labels, count),
            mapOf(mean, labels, count, "query" to FloatTensor.zeros(listOf(3, 2))),
            mapOf(mean, labels, count, "query" to LongTensor(LongArray(6), listOf(2, 3))),
        )) {
            val error = assertThrows(IllegalArgumentException::class.java) { program.call("observe", wrong) }
            assertTrue(error.message!!, "query" in error.message!!)
        }
        assertTrue(bundle.calls.isEmpty())
    }

    @Test
    fun whatTheRuntimeRefusesIsASentence() {
        bundle.before = { error("backend XnnpackBackend is not registered") }
        val error = assertThrows(InputException::class.java) { program.call("initial_state", emptyMap()) }
        assertEquals(
            "The bundle cannot be run on this device (initial_state: backend XnnpackBackend is not registered).",
            error.message,
        )
    }

    @Test
    fun otherNumbersThanTheManifestSaysAreRefused() {
        for (answer in listOf(emptyList(), listOf(FloatTensor.zeros(listOf(3, 2))))) {
            val runner = object : MethodRunner by bundle {
                override fun run(method: String, inputs: List<Tensor>): List<Tensor> = answer
            }
            val broken = Program(runner, bundle.manifest)
            val images = "images" to FloatTensor.zeros(listOf(2, 3, 4, 4))
            assertThrows(InputException::class.java) { broken.call("query", mapOf(images)) }
        }
    }

    @Test
    fun aTensorsValuesFillItsShape() {
        assertThrows(IllegalArgumentException::class.java) { FloatTensor(FloatArray(5), listOf(2, 3)) }
        assertThrows(IllegalArgumentException::class.java) { LongTensor(LongArray(7), listOf(2, 3)) }
    }
}
