package cbpnet.conformance

import cbpnet.core.JsonNumber
import cbpnet.core.JsonObject
import cbpnet.core.LearningSession
import cbpnet.core.Prediction
import cbpnet.core.Program
import cbpnet.core.StateStore
import cbpnet.core.readManifest
import cbpnet.executorch.ExecuTorchRunner
import java.io.Closeable
import java.io.File
import java.util.concurrent.TimeUnit
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Before
import org.junit.Test

/** A day with the app, from the first thing taught to a phone that is switched off in a lesson. */
class FlowTest {
    private val folder = File(System.getProperty("cbpnet.flow", ""))
    private val states = File(folder, "states").also { it.deleteRecursively() }
    private val photographs = classes("photographs")
    private val test = classes("test")

    private fun classes(name: String): Map<String, List<File>> =
        File(folder, name).listFiles().orEmpty().sorted().associate { it.name to it.listFiles().orEmpty().sorted() }

    @Before
    fun needsWhatFlowPyPrepares() = assumeTrue(photographs.isNotEmpty())

    @Test
    fun teachRecogniseCloseReopenTeachDieRecover() {
        val (first, second, third, fourth) = photographs.keys.toList()
        val known = App(folder, states).use { app ->
            val known = app.session.knowledge.classNames
            app.teach(listOf(first, second, third))
            app.recognise()
            known
        }
        val before = App(folder, states).use { app ->
            assertEquals(known + listOf(first, second, third), app.session.knowledge.classNames)
            app.recognise()
            app.session.exportState()
        }
        dieWhileLearning(fourth)
        App(folder, states).use { app ->
            assertArrayEquals("what was known before the lesson", before, app.session.exportState())
            assertEquals(null, app.session.note)
            app.teach(listOf(fourth))
            val right = app.recognise()
            assertTrue("$right right", right > 0.5) // by chance at most a quarter
            File(folder, "kotlin.safetensors").writeBytes(app.session.exportState())
            app.answer("kotlin")
            val other = File(folder, "python.safetensors")
            app.session.importState(other.readBytes(), other.name)
            app.answer("python")
        }
    }

    /** Another process learns a class, and is killed when it is half through. */
    private fun dieWhileLearning(label: String) {
        val command = listOf(
            File(System.getProperty("java.home"), "bin/java").path, "-cp", System.getProperty("java.class.path"),
            "cbpnet.conformance.FlowTestKt", folder.path, states.path, label,
        )
        val process = ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start()
        val seen = process.inputStream.bufferedReader().lineSequence().first { line ->
            val (done, total) = line.substringAfter("progress ", "0 1").split(" ").map(String::toInt)
            2 * done >= total
        }
        process.destroyForcibly()
        assertTrue(process.waitFor(1, TimeUnit.MINUTES))
        println("killed while learning $label, at $seen")
    }

    private fun App.teach(labels: List<String>) {
        val start = System.nanoTime()
        val lessons = session.learn(labels.associateWith { label -> photographs.getValue(label).map(::PictureFile) })
        val count = lessons.sumOf { it.images }
        val decision = lessons.first().decision?.let { ", ${it.reason.label}" }.orEmpty()
        println("learnt $labels from $count photographs in ${seconds(start)} s$decision")
    }

    /** The share of right answers on the known classes' test photographs. */
    private fun App.recognise(): Double {
        val shown = session.knowledge.classNames.flatMap { label ->
            test.getValue(label).map { label to PictureFile(it).decode() }
        }
        val start = System.nanoTime()
        val right = shown.count { (label, image) -> session.predict(listOf(image)).single().best.label == label }
        val millis = (System.nanoTime() - start) / 1e6 / shown.size
        println("recognised $right of ${shown.size} test photographs, %.1f ms each".format(millis))
        return right.toDouble() / shown.size
    }

    /** Writes down what the app says of all test photographs. */
    private fun App.answer(state: String) {
        val files = test.values.flatten()
        val answers = files.associate { file ->
            val answer = session.predict(listOf(PictureFile(file).decode())).single()
            "${file.parentFile.name}/${file.name}" to json(answer)
        }
        File(folder, "${state}_answers.json").writeText(JsonObject(answers).toString())
    }

    private fun json(prediction: Prediction) =
        JsonObject(prediction.ranking.associate { it.label to JsonNumber(it.probability.toString()) })
}

/** The app's learner as it stands after a start. */
private class App(folder: File, states: File) : Closeable {
    private val start = System.nanoTime()
    private val bundle = File(folder, "bundle.pte")
    private val manifest = readManifest(bundle)
    private val runner = ExecuTorchRunner(bundle.path, threads = 2)
    val session = LearningSession(Program(runner, manifest), StateStore.of(states, manifest))

    init {
        println("opened in ${seconds(start)} s, knows ${session.knowledge.classNames}")
    }

    override fun close() = runner.close()
}

private const val HALFWAY = 60_000L

private fun seconds(start: Long): String = "%.1f".format((System.nanoTime() - start) / 1e9)

/** The process that dies: learns the class [2] of the folder [0] in the states [1], and says how far it is. */
fun main(arguments: Array<String>) {
    val (folder, states, label) = arguments
    App(File(folder), File(states)).use { app ->
        val pictures = File(folder, "photographs/$label").listFiles().orEmpty().sorted().map(::PictureFile)
        val progress = { done: Int, total: Int ->
            println("progress $done $total")
            if (2 * done >= total) Thread.sleep(HALFWAY) // until it is killed: a lesson in one pass is soon over
        }
        app.session.learn(mapOf(label to pictures), progress = progress)
    }
}
